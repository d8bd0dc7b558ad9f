"""Measurements: minutes, not seconds, and never part of the tests."""
