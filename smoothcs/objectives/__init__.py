"""Training objectives, one per file; ``objective="margin-cs"`` or an object like ``MarginCS()``.

To add one, write a file beside these and import it here.
"""

from smoothcs.objectives.base import OBJECTIVES as OBJECTIVES
from smoothcs.objectives.base import Objective as Objective
from smoothcs.objectives.base import ObjectiveOutput as ObjectiveOutput
from smoothcs.objectives.base import TrainingContext as TrainingContext
from smoothcs.objectives.base import resolve_objective as resolve_objective
from smoothcs.objectives.cost_sensitive_cross_entropy import (
    CostSensitiveCrossEntropy as CostSensitiveCrossEntropy,
)
from smoothcs.objectives.cross_entropy import CrossEntropy as CrossEntropy
from smoothcs.objectives.gaussian import Gaussian as Gaussian
from smoothcs.objectives.macer import Macer as Macer
from smoothcs.objectives.margin_cs import MarginCS as MarginCS
from smoothcs.objectives.smoothadv import SmoothAdv as SmoothAdv
from smoothcs.objectives.smoothmix import SmoothMix as SmoothMix
