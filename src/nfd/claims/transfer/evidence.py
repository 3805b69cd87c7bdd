"""Learning-rate transfer: how the best learning rate moves with depth (C7, C10, C11) or width (C8).

The rates are those of docs/theory.md, section 2: transfer means that the best one does not move. Quantities
are those of :mod:`nfd.evidence.rates`.
"""

import pandas as pd

from nfd.claims.two_layers import FROZEN, RIVALS_OF_FROZEN
from nfd.evidence.rates import FEWEST_RATES, add_excess, add_transfer, excess_at_best, sweeps
from nfd.evidence.selection import each, pick_networks, pick_runs
from nfd.evidence.table import Rows, series_label


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
    data = pick_networks(pick_runs(results, "depth_transfer_2"))
    add_transfer(rows, data, "depth")
    _add_freezing_costs(rows, data)
    return rows.frame()


def _add_freezing_costs(rows: Rows, data: pd.DataFrame) -> None:
    """What freezing W1 costs against each network that trains it."""
    for _, group in each(data, "optimizer", "width"):
        lines = {
            series_label(keys): (keys, sweep)
            for keys, sweep in sweeps(group, "depth", FEWEST_RATES)
        }
        if FROZEN not in lines:
            continue
        frozen = lines[FROZEN][1]
        for keys, trained in (lines[name] for name in RIVALS_OF_FROZEN if name in lines):
            for place in trained.read_at:
                depths, excess = excess_at_best(frozen, trained, place)
                step = trained.steps[place]
                readings = excess["train"], excess["train, grid"]
                add_excess(
                    rows,
                    "freezing_cost",
                    keys,
                    depths,
                    readings[0],
                    "depth",
                    step,
                    "train",
                    readings[1],
                )
