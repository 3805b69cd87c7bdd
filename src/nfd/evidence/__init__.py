"""What each figure shows: from tidy tables of runs to tables of estimates with intervals.

One function per figure takes ``(results, outputs)``, tables with the columns of
:data:`nfd.pipeline.tables.RESULT_COLUMNS` and ``OUTPUT_COLUMNS`` (``outputs`` may be None where
:data:`EVIDENCE` says so), and returns a frame with the columns :data:`EVIDENCE_COLUMNS`, one row per
number. Plots draw these rows and claims are judged on them, so that what is drawn is what is judged.

Where it is made
----------------
Claims are those of docs/theory.md, section 6. A module's docstring lists the quantities of its figures.

* :mod:`~nfd.evidence.decoupling`: gia_restoration (C4)
* :mod:`~nfd.evidence.scaling_laws`: scaling_trend (C1), diminishing_returns (C2)
* :mod:`~nfd.evidence.convergence`: limit_convergence (C3)
* :mod:`~nfd.evidence.mechanism`: vanishing_mechanism (C5), coupling_at_init (C6), kernel_spectrum (C13)
* :mod:`~nfd.evidence.transfer`: depth_transfer (C7), width_transfer (C8), depth_transfer_2 (C10, C11)
* :mod:`~nfd.evidence.collapse`: internal_collapse (C9, C11), correction_exponent (C11),
  deeper_is_better (C12)

All of them build on :mod:`~nfd.evidence.contract` (the columns of a row, the name of a line),
:mod:`~nfd.evidence.selection` (which runs are read, at which learning rate) and
:mod:`~nfd.evidence.estimates` (rows that several figures have).

Reading a row
-------------
``quantity`` says what the number is, ``series`` which line of the figure it belongs to. Columns that do
not apply are empty. ``ci_low``, ``ci_high`` bound a 95 % interval over seeds (:mod:`nfd.scaling`) and
are empty where there is none (closed forms, counts, fewer than two seeds). ``seeds`` is the number of
seeds behind the number.

* source ``network``, ``limit``: measured; in a ``limit`` row width is the number of particles.
* source ``closed_form``: exact (docs/theory.md, section 5), no interval.
* source ``fit``: derived from the measured rows. A fitted *number* (slope, exponent, plateau, drift) has
  its own quantity. A fitted *line* repeats the measured quantity with source ``fit``; a straight line in
  log-log is given exactly at the points it was fitted to, so its ends are the window of the fit.

``series`` is the parametrization followed by whatever differs from the plain network, in this order:
``depth_mup``, ``depth_mup_corrected p=0.5``, ``mup, no skip``, ``depth_mup_corrected p=0.5, trained:
hidden_1``, ``depth_mup, decoupled``. The optimizer is only in its column. Rows that compare the standard
with the decoupled network have an empty ``coupling`` and the standard network's series.

A run that diverged never enters an average: it is left out and counted in a row ``diverged_runs``
(estimate: how many; seeds: out of how many; one row per shape, coupling and learning rate with any).

The lists of quantities give quantity, sources and meaning; 'over' names the columns that vary within one
series, and <each> stands for each quantity just named.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from nfd.catalogue import FIGURES
from nfd.evidence.collapse import correction_exponent, deeper_is_better, internal_collapse
from nfd.evidence.contract import CELL, EVIDENCE_COLUMNS, read_evidence, series_label
from nfd.evidence.convergence import limit_convergence
from nfd.evidence.decoupling import gia_restoration
from nfd.evidence.mechanism import coupling_at_init, kernel_spectrum, vanishing_mechanism
from nfd.evidence.scaling_laws import diminishing_returns, scaling_trend
from nfd.evidence.selection import reading_rates
from nfd.evidence.transfer import depth_transfer, depth_transfer_2, width_transfer

__all__ = [
    "CELL",
    "EVIDENCE",
    "EVIDENCE_COLUMNS",
    "Evidence",
    "correction_exponent",
    "coupling_at_init",
    "deeper_is_better",
    "depth_transfer",
    "depth_transfer_2",
    "diminishing_returns",
    "gia_restoration",
    "internal_collapse",
    "kernel_spectrum",
    "limit_convergence",
    "read_evidence",
    "reading_rates",
    "scaling_trend",
    "series_label",
    "vanishing_mechanism",
    "width_transfer",
]


@dataclass(frozen=True)
class Evidence:
    """How a figure's evidence is made: from which experiments, by which function."""

    experiments: tuple[str, ...]
    function: Callable[[pd.DataFrame, pd.DataFrame | None], pd.DataFrame]
    needs_outputs: bool


_FUNCTIONS = (
    gia_restoration,
    scaling_trend,
    diminishing_returns,
    limit_convergence,
    vanishing_mechanism,
    coupling_at_init,
    kernel_spectrum,
    depth_transfer,
    width_transfer,
    internal_collapse,
    depth_transfer_2,
    deeper_is_better,
    correction_exponent,
)
_NEED_OUTPUTS = ("gia_restoration", "limit_convergence")

EVIDENCE: dict[str, Evidence] = {
    function.__name__: Evidence(
        FIGURES[function.__name__].experiments, function, function.__name__ in _NEED_OUTPUTS
    )
    for function in _FUNCTIONS
}
