"""Learning-rate transfer: how the best learning rate moves with depth (C7, C10, C11) or width (C8).

The rates are those of docs/theory.md, section 2: transfer means that the best one does not move. Quantities
are those of :mod:`nfd.evidence.rates`.
"""

import pandas as pd

from nfd.evidence.rates import add_transfer
from nfd.evidence.selection import pick_networks, pick_runs
from nfd.evidence.table import Rows


def depth_transfer(results: pd.DataFrame) -> pd.DataFrame:
    """The best learning rate over depth, one-layer blocks (claim C7)."""
    rows = Rows()
    add_transfer(rows, pick_networks(pick_runs(results, "depth_transfer")), "depth")
    return rows.frame()


def width_transfer(results: pd.DataFrame) -> pd.DataFrame:
    """The best learning rate over width (claim C8)."""
    rows = Rows()
    add_transfer(rows, pick_networks(pick_runs(results, "width_transfer")), "width")
    return rows.frame()


def depth_transfer_2(results: pd.DataFrame) -> pd.DataFrame:
    """The best learning rate over depth, two-layer blocks and controls (claims C10, C11)."""
    rows = Rows()
    add_transfer(rows, pick_networks(pick_runs(results, "depth_transfer_2")), "depth")
    return rows.frame()
