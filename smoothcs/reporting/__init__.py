"""Reports that a person can hand on: what was measured, what is certified, and what is not."""

from smoothcs.reporting._report import Interval as Interval
from smoothcs.reporting._report import Report as Report
from smoothcs.reporting._report import ReportMixin as ReportMixin
from smoothcs.reporting._report import report as report
