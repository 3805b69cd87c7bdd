"""One line of a figure: points, intervals, fits, and its entry in the legend."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PolyCollection
from matplotlib.lines import Line2D

from nfd.drawing.labels import end_label
from nfd.drawing.names import COUPLING_NAMES, LIMIT_NAMES, lines_of, name_of
from nfd.drawing.style import DASHES, FAINT, INK, Mark, mark_of
from nfd.evidence.table import usable
from nfd.network.couplings import COUPLINGS

REFERENCE = "reference"  # marks lines that show no measurement


def draw_line(
    axes: Axes,
    points: pd.DataFrame,
    x: str,
    mark: Mark,
    *,
    join: bool = True,
    band: bool = False,
    label: str = "",
) -> None:
    """Estimates with their intervals (bars, or a band); ``label`` is written at the line's end.

    What a logarithmic axis cannot show is marked at its lower edge.
    """
    points = usable(points).sort_values(x)
    shown = points[points["estimate"] > 0] if axes.get_yscale() == "log" else points
    if len(shown) < len(points):
        _below_axis(axes, points[points["estimate"] <= 0], x, mark)
    if shown.empty:
        return
    _intervals(axes, shown, x, mark.colour, band)
    dense = band and len(shown) > 1
    axes.plot(
        shown[x],
        shown["estimate"],
        color=mark.colour,
        linestyle=mark.dash if join else "none",
        marker="none" if dense else mark.marker,
        markerfacecolor=mark.colour if mark.filled else "white",
        zorder=3,
    )
    if label:
        last = shown.iloc[-1]
        end_label(axes, last[x], last["estimate"], label, mark.colour)


def _intervals(axes: Axes, points: pd.DataFrame, x: str, colour: str, band: bool) -> None:
    points = points.dropna(subset=["ci_low", "ci_high"])
    if points.empty:
        return
    middle, low, high = (points[name].to_numpy(float) for name in ("estimate", "ci_low", "ci_high"))
    at = points[x].to_numpy(float)
    if axes.get_yscale() == "log":
        low = np.where(low > 0, low, middle * 1e-6)
        seen = np.maximum(low, middle / 3), np.minimum(high, middle * 3)
    else:
        widths = (high - low)[np.isfinite(high - low)]
        reach = max(np.ptp(middle), np.quantile(widths, 0.25) if len(widths) else 0.0)
        seen = np.maximum(low, middle - reach), np.minimum(high, middle + reach)
    # A wide interval is cut by the panel's edge rather than squeezing everything else.
    if band and len(points) > 1:
        outline = np.column_stack([np.r_[at, at[::-1]], np.r_[low, high[::-1]]])
        shape: Collection = PolyCollection([outline], facecolors=colour, alpha=0.16, linewidths=0)
    else:
        bars = [((a, b), (a, c)) for a, b, c in zip(at, low, high, strict=True)]
        shape = LineCollection(bars, colors=colour, linewidths=1.0, alpha=0.65, zorder=2.5)
    axes.add_collection(shape, autolim=False)
    for edge in seen:
        axes.update_datalim(np.column_stack([at, edge]))
    axes.autoscale_view()


def _below_axis(axes: Axes, points: pd.DataFrame, x: str, mark: Mark) -> None:
    """Zero or negative estimates on a logarithmic axis: a triangle at the edge, bar up to the interval's."""
    if points.empty:
        return
    edge_marks(axes, points[x], mark.colour, height=0.0)
    reach = points[points["ci_high"] > 0]
    bars = [
        ((at, high * 1e-6), (at, high)) for at, high in zip(reach[x], reach["ci_high"], strict=True)
    ]
    axes.add_collection(
        LineCollection(bars, colors=mark.colour, linewidths=1.0, alpha=0.65), autolim=False
    )
    axes.update_datalim(reach[[x, "ci_high"]].to_numpy(float))


def edge_marks(axes: Axes, at: pd.Series, colour: str, *, height: float) -> None:
    """Triangles at a ``height`` near the panel's lower (0) or upper (1) edge: values beyond it."""
    if not len(at):
        return
    axes.plot(
        at,
        np.full(len(at), height),
        transform=axes.get_xaxis_transform(),
        color=colour,
        linestyle="none",
        marker="v" if height < 0.5 else "^",
        markersize=4.5,
        clip_on=False,
        zorder=4,
    )


def draw_measured_and_fit(
    axes: Axes, table: pd.DataFrame, x: str, mark: Mark, *, label: str = ""
) -> None:
    """Measured points with bars; the fitted curve through them, or thin joining lines without one."""
    measured, fit = table[table["source"] != "fit"], usable(table[table["source"] == "fit"])
    draw_line(axes, measured, x, mark, join=fit.empty, label=label)
    if not fit.empty:
        fit = fit.sort_values(x)
        axes.plot(fit[x], fit["estimate"], color=mark.colour, linestyle=mark.dash, linewidth=1.0)


def draw_closed_form(axes: Axes, points: pd.DataFrame, x: str, label: str = "") -> None:
    """An exact curve, dashed and black."""
    points = usable(points).sort_values(x)
    if points.empty:
        return
    axes.plot(points[x], points["estimate"], color="black", linestyle=(0, (4, 2)), linewidth=1.0)
    if label:
        last = points.iloc[-1]
        end_label(axes, last[x], last["estimate"], label, "black")


def reference_line(axes: Axes, value: float, *, vertical: bool = False) -> None:
    """A thin line at a value of reference, such as no drift."""
    draw = axes.axvline if vertical else axes.axhline
    draw(value, color=FAINT, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1, gid=REFERENCE)


# --------------------------------------------------------------------------------- entries of legends


def entry(text: str, mark: Mark | None = None, *, line: bool = True, marker: bool = True) -> Line2D:
    """One entry of a legend; without a mark only the text."""
    if mark is None:
        return Line2D([], [], linestyle="none", label=text)
    return Line2D(
        [],
        [],
        color=mark.colour,
        linestyle=mark.dash if line else "none",
        marker=mark.marker if marker else "none",
        markerfacecolor=mark.colour if mark.filled else "white",
        label=text,
    )


def ramp_entries(ramp: Mapping[float, str], size: str) -> list[Line2D]:
    """The colours of depths or widths."""
    keys = [entry(f"{value:g}", Mark(colour), marker=False) for value, colour in ramp.items()]
    if keys:
        symbol = {"depth": "L", "width": "n"}[size]
        keys[0].set_label(f"{size} {symbol} = {keys[0].get_label()}")
    return keys


def coupling_entries(table: pd.DataFrame) -> list[Line2D]:
    """How lines of each coupling are dashed, where a figure shows more than the standard one."""
    shown = {"standard", *table["coupling"]}
    if not (shown & set(DASHES)) - {"standard"}:
        return []
    return [
        entry(COUPLING_NAMES[name], Mark(INK, dash), marker=False)
        for name, dash in DASHES.items()
        if name in shown
    ]


def line_entries(table: pd.DataFrame) -> list[Line2D]:
    """One entry per parametrization (and what else its series says)."""
    return [entry(name_of(row), mark_of(row)) for row, _ in lines_of(table)]


def limit_entries(table: pd.DataFrame) -> list[Line2D]:
    """NFD and the coupled limit, where a figure shows them, as black diamonds."""
    limits = table[table["source"] == "limit"]
    return [
        entry(LIMIT_NAMES[coupling], Mark(INK, DASHES[coupling], "D"))
        for coupling in LIMIT_NAMES
        if (limits["coupling"] == coupling).any()
    ]


def fit_entries(table: pd.DataFrame) -> list[Line2D]:
    """A line without points, where a figure shows fits."""
    fits = (table["source"] == "fit").any()
    return [entry("fit", Mark(), marker=False)] if fits else []


def network_entries(table: pd.DataFrame) -> list[Line2D]:
    """Networks of one parametrization by coupling, in its colour."""
    networks = table[table["source"] == "network"]
    names = {name: f"{coupling.printed_name} networks" for name, coupling in COUPLINGS.items()}
    rows = networks.drop_duplicates("coupling").set_index("coupling", drop=False)
    return [entry(names[c], mark_of(rows.loc[c])) for c in names if c in rows.index]


def dotted_limit_entries(losses: pd.DataFrame) -> list[Line2D]:
    """Limits as curves over training steps."""
    limits = (losses["source"] == "limit").any()
    return [entry("limit", Mark(INK, ":", "D", filled=False))] if limits else []
