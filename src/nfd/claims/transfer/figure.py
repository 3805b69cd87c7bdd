"""Learning-rate transfer, drawn (claims C7, C8, C10)."""

import pandas as pd

from nfd.drawing.page import Row
from nfd.drawing.rates import transfer_rows


def depth_transfer(table: pd.DataFrame) -> list[Row]:
    """Transfer of the best learning rate over depth, one-layer blocks (claim C7)."""
    return transfer_rows(table, "depth")


def width_transfer(table: pd.DataFrame) -> list[Row]:
    """Transfer of the best learning rate over width (claim C8)."""
    return transfer_rows(table, "width")


def depth_transfer_2(table: pd.DataFrame) -> list[Row]:
    """Transfer over depth with two-layer blocks, and the controls (claims C10, C11)."""
    return transfer_rows(table, "depth")
