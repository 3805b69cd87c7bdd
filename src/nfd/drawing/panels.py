"""Panels that many figures have: over steps, over sizes, fitted numbers as dots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nfd.drawing.axes import TICK_STEPS, linear_y, log_y, size_axis, step_axis
from nfd.drawing.lines import draw_line, draw_measured_and_fit, reference_line
from nfd.drawing.names import NOT_FITTED, lines_of
from nfd.drawing.page import Draw, Panel, Row
from nfd.drawing.style import DASHES, INK, Mark, Ramp, mark_of
from nfd.evidence.table import SINGLE_MATRICES, usable


def add_note(axes: Axes, text: str) -> None:
    """A remark in grey, after the panel's title."""
    if text:
        title = axes.get_title(loc="left")
        axes.set_title(f"{title}\n{text}" if title else text, loc="left")


def noted(note: str, draw: Draw, axes: Axes, table: pd.DataFrame) -> None:
    """A panel with a remark."""
    draw(axes, table)
    add_note(axes, note)


def dots(
    title: str,
    table: pd.DataFrame,
    label: str,
    groups: Mapping[str, str],
    references: Sequence[float] = (),
) -> Panel:
    """A panel of fitted numbers: ``groups`` maps quantities to how they are printed (:func:`dots_panel`)."""
    rows = table[table["quantity"].isin(groups)]
    draw = partial(dots_panel, label=label, groups=groups, references=references)
    return Panel(title, rows, draw, NOT_FITTED)


def single_matrices_row(
    rows: pd.DataFrame, title: str, label: str, references: Sequence[float]
) -> list[Row]:
    """A row of one panel with fitted numbers of networks of which one matrix is trained; none without any."""
    single = rows[rows["trainable"].isin(SINGLE_MATRICES)]
    if single.empty:
        return []
    single = single.assign(quantity=single["trainable"])
    return [Row([dots(title, single, label, SINGLE_MATRICES, references)])]


def steps_panel(axes: Axes, table: pd.DataFrame, label: str, size: str, ramp: Ramp) -> None:
    """Curves over training steps: colour by ``size``, dashed if decoupled, limits with diamonds."""
    log_y(axes, label)
    keys = [size, "coupling", "source", "series"]
    for (value, coupling, source, _), points in table.groupby(keys, sort=True):
        limit = source == "limit"
        colour = ramp.get(value, INK)
        mark = Mark(colour, ":" if limit else DASHES.get(coupling, "-"), "D", filled=not limit)
        draw_line(axes, points, "step", mark, band=True)
        if limit:
            end = points[points["step"] == points["step"].max()]
            draw_line(axes, end, "step", mark, join=False)
    step_axis(axes)


def sizes_panel(
    axes: Axes,
    table: pd.DataFrame,
    label: str,
    x: str,
    *,
    log: bool = True,
    labels: Callable[[pd.Series], str] | None = None,
) -> None:
    """Points over a size, one line per series in its own colour, with the fits among the rows."""
    (log_y if log else linear_y)(axes, label)
    size_axis(axes, x, table.loc[table["source"] != "fit", x])
    for row, points in lines_of(table):
        first = points[points["source"] != "fit"]
        mark = mark_of(first.iloc[0] if len(first) else row)
        draw_measured_and_fit(axes, points, x, mark, label=labels(row) if labels else "")


def ramp_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, by: str, ramp: Ramp, *, log: bool = True
) -> None:
    """Points over one size, coloured by the other; limits as level lines (over width) or diamonds."""
    (log_y if log else linear_y)(axes, label)
    networks = table[table["source"] == "network"]
    size_axis(axes, x, networks[x])
    for (_, value), points in table[table["source"] != "limit"].groupby(["series", by]):
        if value in ramp:
            mark = replace(mark_of(points.iloc[0]), colour=ramp[value])
            draw_measured_and_fit(axes, points, x, mark)
    for coupling, limits in table[table["source"] == "limit"].groupby("coupling"):
        if x == "width":
            _level_lines(axes, limits, by, ramp)
        else:
            draw_line(axes, limits, x, Mark(INK, DASHES[coupling], "D"))


def _level_lines(axes: Axes, limits: pd.DataFrame, by: str, ramp: Ramp) -> None:
    """A horizontal line with its band for every limit."""
    for _, row in usable(limits).iterrows():
        colour = ramp.get(row[by], INK)
        axes.axhline(
            row["estimate"], color=colour, linewidth=0.8, linestyle=DASHES[row["coupling"]]
        )
        axes.plot(
            0.985, row["estimate"], "D", color=colour, markersize=3,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
        if np.isfinite(row["ci_low"]):
            axes.axhspan(row["ci_low"], row["ci_high"], color=colour, alpha=0.15, linewidth=0)


def dots_panel(
    axes: Axes,
    table: pd.DataFrame,
    label: str,
    groups: Mapping[str, str],
    *,
    references: Sequence[float] = (),
) -> None:
    """Fitted numbers with intervals: one line of text per quantity, one dot per series and step."""
    axes.set_xlabel(label)
    names = [name for name in groups if (table["quantity"] == name).any()]
    for value in references:
        reference_line(axes, value, vertical=True)
    table = usable(table)
    for place, name in enumerate(names):
        rows = [
            row
            for _, part in lines_of(table[table["quantity"] == name])
            for _, row in part.iterrows()
        ]
        for offset, row in zip(_dodge(len(rows)), rows, strict=True):
            _dot(axes, row, place + offset, filled=_is_last(row, table))
    axes.set_yticks(range(len(names)), [groups[name] for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))
    _robust_limits(axes, table, references)


def _dodge(number: int) -> np.ndarray:
    return np.linspace(-0.33, 0.33, number) if number > 1 else np.zeros(number)


def _is_last(row: pd.Series, table: pd.DataFrame) -> bool:
    return not row["step"] < table["step"].max()


def _dot(axes: Axes, row: pd.Series, y: float, *, filled: bool) -> None:
    mark = mark_of(row)
    face = mark.colour if filled else "white"
    axes.plot(
        row["estimate"], y, marker=mark.marker, color=mark.colour, markerfacecolor=face,
        markersize=3, zorder=3,
    )  # fmt: skip
    if np.isfinite(row["ci_low"]) and np.isfinite(row["ci_high"]):
        axes.plot(
            [row["ci_low"], row["ci_high"]], [y, y], color=mark.colour, linestyle=mark.dash,
            alpha=0.65, linewidth=1.0, scalex=False,
        )  # fmt: skip


def _robust_limits(axes: Axes, table: pd.DataFrame, references: Sequence[float]) -> None:
    """Show all estimates, and intervals as far as they do not squeeze them."""
    if table.empty:
        return
    middle = np.r_[table["estimate"].to_numpy(float), references]
    reach = max(np.ptp(middle), 0.2 * np.abs(middle).max(), 1e-9)
    low = max(np.nanmin(np.r_[table["ci_low"], middle]), middle.min() - reach)
    high = min(np.nanmax(np.r_[table["ci_high"], middle]), middle.max() + reach)
    margin = 0.06 * (high - low) or reach
    axes.set_xlim(low - margin, high + margin)
