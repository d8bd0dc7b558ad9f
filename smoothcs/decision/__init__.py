"""How votes become a label, and what that allows an attacker."""

from smoothcs.decision._votes import ExpectedCost as ExpectedCost
from smoothcs.decision._votes import WeightedVote as WeightedVote
