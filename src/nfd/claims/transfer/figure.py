"""Learning-rate transfer, drawn (claims C7, C8, C10)."""

import pandas as pd
from matplotlib.axes import Axes

from nfd.drawing.lines import reference_line
from nfd.drawing.names import name_of
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import sizes_panel
from nfd.drawing.rates import transfer_rows
from nfd.evidence.table import pick


def depth_transfer(table: pd.DataFrame) -> list[Row]:
    """Transfer of the best learning rate over depth, one-layer blocks (claim C7)."""
    return transfer_rows(table, "depth")


def width_transfer(table: pd.DataFrame) -> list[Row]:
    """Transfer of the best learning rate over width (claim C8)."""
    return transfer_rows(table, "width")


def depth_transfer_2(table: pd.DataFrame) -> list[Row]:
    """Transfer over depth with two-layer blocks, and the controls (claims C10, C11)."""
    costs = pick(table, "freezing_cost")
    last = costs[costs["step"] == costs["step"].max()]
    panel = Panel("cost of freezing W₁", last, _freezing_panel)
    return [*transfer_rows(table, "depth"), Row([panel], height=1.7)]


def _freezing_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Against the networks that train W1: log of the ratio of best losses, over depth."""
    sizes_panel(axes, table, "log ratio of losses", "depth", log=False, labels=name_of)
    reference_line(axes, 0.0)
