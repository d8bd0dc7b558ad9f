"""The papers' comparisons of training methods on real data: ``python -m benchmarks.papers --help``.

``data`` and ``tasks`` say what is learnt, ``methods`` which candidates each method may choose
from, ``store`` trains, votes and keeps what was done, ``choose`` picks on the validation split,
``measure`` certifies on the test split, ``tables`` and ``figures`` print.
"""
