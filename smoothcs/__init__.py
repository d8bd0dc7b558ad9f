"""Classifiers whose costly mistakes are provably hard to provoke."""

import logging

from smoothcs import exceptions
from smoothcs._classifier import CostSensitiveSmoothedClassifier
from smoothcs._estimator._certify import CertificationInterrupted
from smoothcs._estimator._export import export_module, load_module
from smoothcs._estimator._scale import category_scale
from smoothcs._estimator._unwrap import (
    certified_report,
    certify,
    certify_at,
    certify_portfolio,
    predict_one_draw,
)
from smoothcs._version import __version__
from smoothcs.certification import Certificates, CertifiedAt, certify_votes
from smoothcs.convex import ConvexRelaxationClassifier
from smoothcs.cost import CostMatrix, example_costs
from smoothcs.decision import WeightedVotes
from smoothcs.diagnosis import diagnose
from smoothcs.portfolio import PortfolioCertificate
from smoothcs.reporting import report
from smoothcs.scoring import (
    best_under,
    certified_accuracy_scorer,
    certified_scorer,
    neg_rob_cost_scorer,
    rob_cs_scorer,
)
from smoothcs.tuning import TunedDecisionClassifier, TunedWeightsClassifier
from smoothcs.votes import sample_votes

__all__ = [
    "Certificates",
    "CertificationInterrupted",
    "CertifiedAt",
    "ConvexRelaxationClassifier",
    "CostMatrix",
    "CostSensitiveSmoothedClassifier",
    "PortfolioCertificate",
    "TunedDecisionClassifier",
    "TunedWeightsClassifier",
    "WeightedVotes",
    "__version__",
    "best_under",
    "category_scale",
    "certified_accuracy_scorer",
    "certified_report",
    "certified_scorer",
    "certify",
    "certify_at",
    "certify_portfolio",
    "certify_votes",
    "diagnose",
    "example_costs",
    "exceptions",
    "export_module",
    "load_module",
    "neg_rob_cost_scorer",
    "predict_one_draw",
    "report",
    "rob_cs_scorer",
    "sample_votes",
]

# Silent unless the user asks: logging.getLogger("smoothcs").setLevel("INFO"), and a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())
