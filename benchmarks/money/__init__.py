"""Tables whose mistakes cost money, or whose costs are official: certified bills.

The tables are not part of the package: a folder ``tabular`` of ``NAME.csv.gz`` files, named by
``--data`` or the environment variable ``SMOOTHCS_DATA``.
"""
