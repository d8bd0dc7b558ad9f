"""When to stop drawing votes."""

from smoothcs.sequential._decisions import CERTIFIED as CERTIFIED
from smoothcs.sequential._decisions import CONTINUE as CONTINUE
from smoothcs.sequential._decisions import FUTILE as FUTILE
from smoothcs.sequential._decisions import StoppingRule as StoppingRule
from smoothcs.sequential._looks import look_schedule as look_schedule
from smoothcs.sequential._prediction import PredictionRule as PredictionRule
from smoothcs.sequential._radius import RadiusRule as RadiusRule
from smoothcs.sequential._together import KINDS as KINDS
from smoothcs.sequential._together import Together as Together
