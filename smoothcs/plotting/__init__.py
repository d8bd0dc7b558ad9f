"""Displays of certificates, in scikit-learn's style; matplotlib is imported when one is drawn."""

from smoothcs.plotting._accuracy import CertifiedAccuracyDisplay
from smoothcs.plotting._bill import CertifiedBillDisplay
from smoothcs.plotting._errors import RobustErrorDisplay
from smoothcs.plotting._frontier import FrontierDisplay
from smoothcs.plotting._perturbation import PerturbationDisplay
from smoothcs.plotting._portfolio import PortfolioDisplay
from smoothcs.plotting._radii import RadiusDistributionDisplay
from smoothcs.plotting._votes import VotesDisplay

__all__ = [
    "CertifiedAccuracyDisplay",
    "CertifiedBillDisplay",
    "FrontierDisplay",
    "PerturbationDisplay",
    "PortfolioDisplay",
    "RadiusDistributionDisplay",
    "RobustErrorDisplay",
    "VotesDisplay",
]
