"""What the evidence of all claims shares: its table, which runs are read, and the statistics.

The functions that make a figure's evidence stand with its claims (:mod:`nfd.claims`). They build on

* :mod:`~nfd.evidence.table`: the columns of a row and how to read them, the name of a line,
* :mod:`~nfd.evidence.selection`: which runs are read, at which learning rate,
* :mod:`~nfd.evidence.estimates` and :mod:`~nfd.evidence.rates`: rows that several figures have,
* :mod:`~nfd.evidence.intervals` and :mod:`~nfd.evidence.fits`: intervals, slopes.

A module's docstring lists its quantities with sources and meaning; 'over' names the columns that vary within
one series, and <each> stands for each quantity just named.
"""
