"""Counts go in, confidence bounds and tests come out."""

from smoothcs.bounds.binomial import clopper_pearson_lower as clopper_pearson_lower
from smoothcs.bounds.binomial import clopper_pearson_upper as clopper_pearson_upper
from smoothcs.bounds.binomial import smallest_n as smallest_n
from smoothcs.bounds.binomial import top_two_abstains as top_two_abstains
