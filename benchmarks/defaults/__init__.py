"""What the defaults of training are worth, one change at a time: ``python -m benchmarks.defaults``.

``problems`` are the data, ``variants`` what is compared, ``measure`` trains and certifies.
"""
