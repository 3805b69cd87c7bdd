"""The visual language: what colours, dashes and marks mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import seaborn
from cycler import cycler
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb

from nfd.drawing.names import TRAINED, has_exponent, is_control
from nfd.network.parametrization import PARAMETRIZATIONS

# seaborn's style for papers, with what small panels need: thin lines, short ticks, little padding.
STYLE: Mapping[Any, Any] = {
    **seaborn.axes_style("whitegrid"),
    **seaborn.plotting_context("paper", font_scale=0.78),
    "axes.edgecolor": ".15",
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=["#333333"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    # DejaVu comes with matplotlib, so that a figure is the same on every machine.
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "legend.columnspacing": 1.2,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.handletextpad": 0.45,
    "lines.markeredgewidth": 0.8,
    "lines.markersize": 3.6,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "nfd",
    **{f"{axis}tick.labelsize": 6.5 for axis in "xy"},
    **{f"{axis}tick.major.pad": 2 for axis in "xy"},
    **{f"{axis}tick.major.size": 2.5 for axis in "xy"},
    **{f"{axis}tick.major.width": 0.6 for axis in "xy"},
    "xtick.bottom": True,
    "ytick.left": True,
}
# Colours that colour-blind readers tell apart, by parametrization; any other is drawn in INK.
_BLUE, _ORANGE, _GREEN, _RED, _PINK, _BROWN, *_, _SKY = seaborn.color_palette("colorblind").as_hex()
_PALETTE: Mapping[str, str] = {
    "blue": _BLUE,
    "orange": _ORANGE,
    "green": _GREEN,
    "red": _RED,
    "pink": _PINK,
    "brown": _BROWN,
    "grey": "#6e6e6e",
}
COLOURS: Mapping[str, str] = {
    name: _PALETTE[row.colour_key] for name, row in PARAMETRIZATIONS.items() if row.colour_key
}
NO_SKIP = _SKY
Dash = Literal["-", "--", ":", "-."] | tuple[float, tuple[float, ...]]  # as matplotlib has it
INK, FAINT = "#222222", "#777777"
RAMPS: Mapping[str, tuple[str, float, float]] = {
    "depth": ("viridis", 0.0, 0.85),
    "width": ("YlOrBr", 0.4, 1.0),
}
# Dotted lines are limits.
DASHES: Mapping[str, Dash] = {
    "standard": "-",
    "decoupled": "--",
    "fresh": "-.",
    "third": (0, (6, 1, 1, 1, 1, 1)),
}


@dataclass(frozen=True)
class Mark:
    """How one line is drawn."""

    colour: str = INK
    dash: Dash = "-"
    marker: str = "o"
    filled: bool = True


def mark_of(row: pd.Series) -> Mark:
    """The marking that a line has in every figure."""
    marker = "D" if row["source"] == "limit" else "o"
    if is_control(row):
        marker = TRAINED[row["trainable"]][1]
    return Mark(colour_of(row), DASHES.get(row["coupling"], "-"), marker)


def colour_of(row: pd.Series) -> str:
    """The colour that a line's parametrization has in every figure, paler for a small exponent p."""
    if not row["skip"]:
        return NO_SKIP
    colour = COLOURS.get(row["parametrization"], INK)
    if has_exponent(row):
        return tint(colour, 0.5 + 0.5 * min(1.0, 2 * row["correction"]))
    return colour


def tint(colour: str, strength: float) -> str:
    """The colour mixed with white; strength 1 leaves it unchanged."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def ink(colour: str) -> str:
    """The colour, darkened where text in it would be hard to read on white."""
    red, green, blue = to_rgb(colour)
    brightness = 0.3 * red + 0.59 * green + 0.11 * blue
    darker = min(1.0, 0.45 / max(brightness, 1e-9))
    return to_hex((red * darker, green * darker, blue * darker))


# Size -> colour.
Ramp = Mapping[float, str]


def ramp_of(table: pd.DataFrame, size: str) -> Ramp:
    """A colour for every depth or width of the networks in a figure."""
    values = np.sort(table.loc[table["source"] == "network", size].dropna().unique())
    name, low, high = RAMPS[size]
    places = np.linspace(low, high, max(2, len(values)))
    return {
        value: to_hex(colormaps[name](place)) for value, place in zip(values, places, strict=False)
    }
