"""Classifiers whose costly mistakes are provably hard to provoke."""

from ._certify import CertificationInterrupted
from ._classifier import CostSensitiveSmoothedClassifier
from ._decide import CertifiedDecisions
from ._tuned import TunedDecisionClassifier
from ._version import __version__
from .certification import Certificates, certify_votes
from .convex import ConvexRelaxationClassifier
from .cost import CostMatrix
from .scoring import (
    best_under,
    certified_accuracy_scorer,
    certified_scorer,
    neg_rob_cost_scorer,
    rob_cs_scorer,
)
from .votes import sample_votes

__all__ = [
    "Certificates",
    "CertificationInterrupted",
    "CertifiedDecisions",
    "ConvexRelaxationClassifier",
    "CostMatrix",
    "CostSensitiveSmoothedClassifier",
    "TunedDecisionClassifier",
    "__version__",
    "best_under",
    "certified_accuracy_scorer",
    "certified_scorer",
    "certify_votes",
    "neg_rob_cost_scorer",
    "rob_cs_scorer",
    "sample_votes",
]
