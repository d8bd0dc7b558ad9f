"""Weights of a decision, found on held-out data."""

from smoothcs.tuning._classifier import TunedDecisionClassifier as TunedDecisionClassifier
from smoothcs.tuning._decision import TunedDecision as TunedDecision
from smoothcs.tuning._decision import tune_decision as tune_decision
from smoothcs.tuning._plain import Stability as Stability
from smoothcs.tuning._plain import TunedWeightsClassifier as TunedWeightsClassifier
from smoothcs.tuning._scores import sample_scores as sample_scores
from smoothcs.tuning._temperature import fit_temperature as fit_temperature
