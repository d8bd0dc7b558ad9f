"""Deterministic certificates for small ReLU networks, by convex relaxation."""

from smoothcs.convex._classifier import ConvexRelaxationClassifier as ConvexRelaxationClassifier
