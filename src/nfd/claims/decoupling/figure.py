"""Standard against decoupled training, drawn (claim C4)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nfd.drawing.axes import linear_y, log_y, size_axis
from nfd.drawing.labels import end_label
from nfd.drawing.lines import (
    coupling_entries,
    draw_closed_form,
    draw_measured_and_fit,
    entry,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import diverged_note, fitted_number, lines_of, name_of, order_of, stack
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import noted, sizes_panel, steps_panel
from nfd.drawing.style import DASHES, INK, Mark, mark_of, ramp_of
from nfd.evidence.table import pick, pick_measured, usable

OUTPUT_GAPS = ("output_gap", "output_gap_mean", "output_gap_limit", "output_gap_mean_limit")


def gia_restoration(table: pd.DataFrame) -> list[Row]:
    """Standard against decoupled training over depth (claim C4)."""
    losses = pick_measured(table, "train_loss")
    ramp = ramp_of(losses, "depth")
    gaps = table[table["quantity"].isin(OUTPUT_GAPS)]
    first, last = _first_and_last(gaps[gaps["source"] == "network"])
    after_first = gaps[gaps["step"] == first]
    at_last = gaps[gaps["step"] == last] if last > first else gaps.iloc[:0]
    loss_gap = table[table["quantity"].isin(("loss_gap", "loss_gap_limit"))]
    exact = pick(table, "first_step_change")
    return [
        *_gia_losses(table, losses, ramp),
        Row(
            [
                Panel("output gap after the first step", after_first, _gap_panel),
                Panel("exact first step of a wide Depth-μP network", exact, _first_step_panel),
            ],
            _gap_entries(gaps),
            height=2.1,
        ),
        Row(
            [
                Panel("output gap after the last step", at_last, _gap_panel),
                Panel("loss gap after the last step", loss_gap, _loss_gap_panel),
            ],
            height=2.1,
        ),
    ]


def _first_and_last(rows: pd.DataFrame) -> tuple[float, float]:
    """The first step after initialisation and the last, among the rows."""
    steps = rows.loc[rows["step"] > 0, "step"]
    return (steps.min(), steps.max()) if len(steps) else (np.nan, np.nan)


def _gia_losses(
    table: pd.DataFrame, losses: pd.DataFrame, ramp: Mapping[float, str]
) -> Iterator[Row]:
    """Rows of at most three panels of loss curves, one panel per kind of network."""
    kinds = [part for _, part in losses.groupby(["parametrization", "skip", "correction"])]
    panels = []
    for part in sorted(kinds, key=lambda part: order_of(part.iloc[0])):
        kind = part.iloc[0]
        lost = pick(
            table, "diverged_runs", parametrization=kind["parametrization"], skip=kind["skip"]
        )
        curves = partial(steps_panel, label="training loss", size="depth", ramp=ramp)
        draw = partial(noted, diverged_note(lost), curves)
        panels.append(Panel(name_of(kind, coupling=False), part, draw))
    legend = [*ramp_entries(ramp, "depth"), *coupling_entries(losses)]
    for start in range(0, len(panels), 3):
        yield Row(panels[start : start + 3], legend if start == 0 else [], share_y=True)


def _gap_entries(gaps: pd.DataFrame) -> list[Line2D]:
    keys = [entry("single runs", Mark(), line=False)]
    if (gaps["quantity"] == "output_gap_mean").any():
        keys.append(entry("mean over seeds", Mark(filled=False), line=False))
    if (gaps["source"] == "fit").any():
        keys.append(entry("fit c∞ + c L⁻ʳ", Mark(), marker=False))
    if (gaps["source"] == "closed_form").any():
        keys.append(entry("closed form: one sample, η → 0", Mark("black", "--"), marker=False))
    return keys


def _gap_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Relative output gaps with their fits: single runs filled, means over seeds hollow."""
    (log_y if table["estimate"].max() > 5 else linear_y)(axes, "relative output gap")
    networks = table[table["source"] == "network"]
    size_axis(axes, "depth", networks["depth"])
    for row, _ in lines_of(networks):
        mark = mark_of(row)
        mine = table[table["series"] == row["series"]]
        label = stack(
            name_of(row),
            fitted_number(mine, "output_gap_limit", "c∞"),
            fitted_number(mine, "output_gap_mean_limit", "mean: c∞"),
        )
        draw_measured_and_fit(axes, pick(mine, "output_gap"), "depth", mark, label=label)
        mean = pick(mine, "output_gap_mean")
        aside = mean["depth"].where(mean["source"] == "fit", 1.07 * mean["depth"])
        hollow = replace(mark, filled=False, dash=":")
        draw_measured_and_fit(axes, mean.assign(depth=aside), "depth", hollow)
    draw_closed_form(axes, table[table["source"] == "closed_form"], "depth", "closed form")


def _first_step_panel(axes: Axes, table: pd.DataFrame) -> None:
    linear_y(axes, "−Δf / (η χ)")
    size_axis(axes, "depth", table["depth"])
    shades = {"hidden": "black", "input": "#707070", "output": "#8C8C8C"}
    for series, points in usable(table).groupby("series"):
        part, _, coupling = series.partition(", ")
        points = points.sort_values("depth")
        colour = shades.get(part, INK)
        dash = DASHES.get(coupling, "-.")
        axes.plot(points["depth"], points["estimate"], color=colour, linestyle=dash, linewidth=1.0)
        end_label(axes, points["depth"].iloc[-1], points["estimate"].iloc[-1], series, colour)


def _loss_gap_panel(axes: Axes, table: pd.DataFrame) -> None:
    gaps, limits = pick(table, "loss_gap"), pick(table, "loss_gap_limit")

    def label(row: pd.Series) -> str:
        mine = limits[limits["series"] == row["series"]]
        return stack(name_of(row), fitted_number(mine, "loss_gap_limit", "c∞"))

    sizes_panel(axes, gaps, "relative loss gap", "depth", log=False, labels=label)
    reference_line(axes, 0.0)
