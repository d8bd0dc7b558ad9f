"""Classifiers whose costly mistakes are provably hard to provoke."""

from smoothcs._classifier import CostSensitiveSmoothedClassifier
from smoothcs._estimator._certify import CertificationInterrupted
from smoothcs._version import __version__
from smoothcs.certification._at_eps import CertifiedDecisions
from smoothcs.certification._certify import Certificates, certify_votes
from smoothcs.convex._classifier import ConvexRelaxationClassifier
from smoothcs.cost import CostMatrix
from smoothcs.scoring import (
    best_under,
    certified_accuracy_scorer,
    certified_scorer,
    neg_rob_cost_scorer,
    rob_cs_scorer,
)
from smoothcs.tuning._classifier import TunedDecisionClassifier
from smoothcs.votes._sample import sample_votes

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
