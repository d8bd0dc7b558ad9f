"""How scores and votes become a label, and what that allows an attacker."""

from smoothcs.decision._radii import BOUNDS as BOUNDS
from smoothcs.decision._scores import MinCost as MinCost
from smoothcs.decision._scores import WeightedScores as WeightedScores
from smoothcs.decision._scores import read_decision as read_decision
from smoothcs.decision._votes import WeightedVotes as WeightedVotes
from smoothcs.decision._votes import as_decision as as_decision
from smoothcs.decision._votes import weighted_radius as weighted_radius
