"""From what a run wrote to what people read: the report page, the record, and comparisons of runs.

:mod:`nfd.report.page` makes the page, of what :mod:`~nfd.report.findings`, :mod:`~nfd.report.figures` and
:mod:`~nfd.report.costs` read; :mod:`~nfd.report.record` says what made a run and keeps one for publication;
:mod:`~nfd.report.compare` sets two runs side by side; :mod:`~nfd.report.verdicts` writes the texts' tables.
"""


class ReportError(ValueError):
    """An input that cannot be shown, kept or compared; the message names the file or column at fault."""
