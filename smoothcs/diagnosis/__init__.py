"""Checks of a fitted classifier and the data it is to certify, before anything is certified."""

from smoothcs.diagnosis import _data as _data
from smoothcs.diagnosis import _model as _model
from smoothcs.diagnosis import _noise as _noise
from smoothcs.diagnosis._checks import CHECKS as CHECKS
from smoothcs.diagnosis._checks import Finding as Finding
from smoothcs.diagnosis._checks import Findings as Findings
from smoothcs.diagnosis._diagnose import diagnose as diagnose
