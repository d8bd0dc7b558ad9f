"""Weights of a decision, found on held-out data."""

from smoothcs.tuning._classifier import TunedDecisionClassifier as TunedDecisionClassifier
from smoothcs.tuning._decision import TunedDecision as TunedDecision
from smoothcs.tuning._decision import tune_decision as tune_decision
