"""Whether claims are tested at the counts that the documentation reports, as in CI, or at fewer."""

import os

FULL = bool(os.environ.get("SMOOTHCS_FULL_TESTS"))
