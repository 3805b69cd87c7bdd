"""Coupling and kernel, drawn (claims C5, C6, C13)."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nfd.drawing.axes import linear_y, log_y, size_axis
from nfd.drawing.lines import (
    coupling_entries,
    dotted_limit_entries,
    draw_closed_form,
    draw_line,
    draw_measured_and_fit,
    fit_entries,
    limit_entries,
    network_entries,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import NOT_FITTED, decimals, fitted_number, lines_of, stack
from nfd.drawing.page import Draw, Panel, Row
from nfd.drawing.panels import dots, ramp_panel, single_matrices_row, sizes_panel, steps_panel
from nfd.drawing.style import INK, colour_of, mark_of, ramp_of
from nfd.evidence.table import of_whole_networks, pick, pick_measured, usable

# What a block's coupling is counted to get from below, in closed form.
COUNTS = {"below": "U and all blocks below", "neighbour": "block l − 1 alone"}


def vanishing_mechanism(table: pd.DataFrame) -> list[Row]:
    """The coupling of W with its transpose that training creates, over depth (claim C5)."""
    everything, table = table, of_whole_networks(table)
    ramp = ramp_of(table, "depth")
    last = table["step"].max()
    whats = {
        "coupling": "coupling",
        "reuse": "what reuse adds",
        "fresh": "what reuse adds to fresh copies",
    }
    observables = {"layer": "per layer", "sum": "summed"}
    curves = [
        *(
            Panel(
                f"summed, single runs: {coupling}",
                pick_measured(table, "coupling_accumulated", coupling=coupling),
                partial(steps_panel, label="coupling (rms)", size="depth", ramp=ramp),
            )
            for coupling in ("standard", "decoupled")
        ),
        Panel(
            "summed: what reuse adds",
            # Before the first step there is none: noise of either sign, which a logarithm cannot show.
            pick_measured(table[table["step"] > 0], "reuse_sum_square"),
            partial(steps_panel, label="mean square", size="depth", ramp=ramp),
        ),
    ]
    rows = []
    for what, title in whats.items():
        panels = []
        for observable, name in observables.items():
            stem = f"{what}_{observable}"
            mine = table[table["quantity"].isin((f"{stem}_square", f"{stem}_exponent"))]
            mine = mine[mine["step"] == last]
            panels.append(Panel(f"{name}: {title}", mine, partial(_squares_panel, stem=stem)))
        rows.append(Row(panels))
    measured = pick_measured(table, "coupling_sum_square")
    rows[0] = replace(rows[0], legend=[*network_entries(measured), *limit_entries(measured)])
    left = {
        "reuse_sum_share_left": "what reuse adds",
        "fresh_sum_share_left": "the same, fresh copies",
    }
    before = {name.replace("share_left", "before"): text for name, text in left.items()}
    first_step = []
    for observable, name in observables.items():
        counted = [f"{what}_{observable}" for what in COUNTS]
        exact = table[table["quantity"].isin([*counted, *(f"{one}_exponent" for one in counted)])]
        draw = partial(_counts_panel, observable=observable)
        first_step.append(Panel(f"first step, closed form, {name}", exact, draw))
    return [
        Row(curves, [*ramp_entries(ramp, "depth"), *dotted_limit_entries(measured)]),
        *rows,
        Row(
            [
                dots(
                    "summed, left at infinite depth: networks, then limits",
                    table,
                    "share of the square",
                    left,
                    (0.0, 1.0),
                )
            ]
        ),
        Row(
            [
                dots(
                    "summed, before training: networks, then limits",
                    table,
                    "mean square",
                    before,
                    (0.0,),
                )
            ]
        ),
        *single_matrices_row(
            pick(everything, "reuse_sum_share_left"),
            "the same share, each matrix trained alone: networks, then limits",
            "share of the square",
            (0.0, 1.0),
        ),
        Row(first_step),
    ]


def _squares_panel(axes: Axes, table: pd.DataFrame, stem: str) -> None:
    """Unbiased squares over depth, with the exponent of the amplitude but for what is not reused."""
    log_y(axes, "mean square")
    measured = pick_measured(table, f"{stem}_square")
    size_axis(axes, "depth", measured["depth"])
    for (source, _), points in measured.groupby(["source", "series"], sort=False):
        first = points.iloc[0]
        limit = source == "limit"
        mark = replace(mark_of(first), colour=INK if limit else colour_of(first))
        mine = table[table["series"] == first["series"] + (", limit" if limit else "")]
        compared = first["coupling"] in ("", "standard")
        power = fitted_number(mine, f"{stem}_exponent", "exponent") if compared else ""
        fit = pick(mine, f"{stem}_square", source="fit")
        draw_measured_and_fit(axes, pd.concat([points, fit]), "depth", mark, label=power)


def _counts_panel(axes: Axes, table: pd.DataFrame, observable: str) -> None:
    """What a block's coupling gets from below, by what is counted."""
    log_y(axes, "coupling / (η χ²)")
    points = {name: usable(pick(table, f"{name}_{observable}")) for name in COUNTS}
    size_axis(axes, "depth", pd.concat([rows["depth"] for rows in points.values()]))
    for name, text in COUNTS.items():
        power = pick(table, f"{name}_{observable}_exponent")["estimate"]
        said = f"exponent {decimals(power.iloc[0])}" if len(power) else ""
        draw_closed_form(axes, points[name], "depth", stack(text, said))


def coupling_at_init(table: pd.DataFrame) -> list[Row]:
    """The coupling at initialisation over width and depth (claim C6)."""
    ramp = ramp_of(table, "depth")
    quantities = {"coupling_layer": "per layer", "coupling_accumulated": "summed over depth"}
    over_width, widest, slopes = [], [], {}
    for quantity, name in quantities.items():
        rows = table[table["source"].isin(("network", "fit"))]
        rows = usable(pick(rows, quantity))
        draw = partial(ramp_panel, label="coupling (rms)", x="width", by="depth", ramp=ramp)
        over_width.append(Panel(f"{name}, over width", rows, draw))
        networks = pick_measured(table, quantity, source="network")
        widest.append(networks[networks["width"] == networks["width"].max()])
        slopes[f"{quantity}_square_slope"] = name
    over_depth = pd.concat([*widest, table[table["quantity"].str.endswith("_depth_slope")]])
    exponents = table[table["quantity"].isin(slopes)]
    return [
        Row(
            over_width,
            [*ramp_entries(ramp, "depth"), *fit_entries(table), *coupling_entries(table)],
        ),
        Row(
            [
                Panel("widest networks, over depth", over_depth, _initial_depth_panel),
                Panel(
                    "exponent of the mean square in width",
                    exponents,
                    partial(_initial_slopes_panel, names=slopes),
                    NOT_FITTED,
                ),
            ]
        ),
    ]


def _initial_depth_panel(axes: Axes, table: pd.DataFrame) -> None:
    log_y(axes, "coupling (rms)")
    size_axis(axes, "depth", table.loc[table["source"] == "network", "depth"])
    shapes = {"coupling_layer": ("per layer", True), "coupling_accumulated": ("summed", False)}
    for quantity, (name, filled) in shapes.items():
        for row, points in lines_of(pick(table, quantity)):
            mine = table[table["series"] == row["series"]]
            slope = fitted_number(mine, f"{quantity}_depth_slope", "slope")
            mark = replace(mark_of(row), filled=filled)
            draw_line(axes, points, "depth", mark, label=stack(name, slope))


def _initial_slopes_panel(axes: Axes, table: pd.DataFrame, names: Mapping[str, str]) -> None:
    linear_y(axes, "exponent")
    size_axis(axes, "depth", table["depth"])
    reference_line(axes, -1.0)
    for place, (quantity, name) in enumerate(names.items()):
        for row, points in lines_of(pick(table, quantity)):
            mark = replace(mark_of(row), filled=place == 0)
            draw_line(axes, points, "depth", mark, label=name)


def kernel_spectrum(table: pd.DataFrame) -> list[Row]:
    """The least eigenvalue of the feature covariance during training (claim C13)."""
    label = "least eigenvalue"
    depth, width = ramp_of(table, "depth"), ramp_of(table, "width")
    long, least, early = [], [], []
    kept: list[Panel] = []
    moved: list[Panel] = []
    early_kept: list[Panel] = []
    few = pick_measured(table, "early_kernel_min_eigenvalue")
    shared = _deepest_shared(few)
    for coupling in ("standard", "decoupled"):
        rows = pick_measured(table, "kernel_min_eigenvalue", coupling=coupling)
        draw = partial(steps_panel, label=label, size="depth", ramp=depth)
        long.append(Panel(f"{coupling}", rows, draw))
        over_depth = partial(sizes_panel, label="ratio", x="depth", log=False)
        over_width = partial(
            ramp_panel, label="ratio", x="width", by="depth", ramp=depth, log=False
        )
        for panels, quantity, draw, name in (
            (kept, "kernel_ratio", over_depth, f"{coupling}: least / initial"),
            (moved, "kernel_moved", over_depth, f"{coupling}: last / initial"),
            (
                early_kept,
                "early_kernel_ratio",
                over_width,
                f"few steps: {coupling}, least / initial",
            ),
        ):
            rows = pick_measured(table, quantity, coupling=coupling)
            panels.append(Panel(name, rows, partial(_ratio_panel, draw=draw)))
        rows = few[(few["coupling"] == coupling) & (few["depth"] == shared)]
        draw = partial(steps_panel, label=label, size="width", ramp=width)
        early.append(Panel(f"few steps: {coupling}, L = {shared:g}", rows, draw))
        rows = pick_measured(table, "early_kernel_minimum", coupling=coupling)
        over_width = partial(ramp_panel, label=label, x="width", by="depth", ramp=depth)
        least.append(Panel(f"few steps: {coupling}, least", rows, over_width))
    return [
        Row(long, ramp_entries(depth, "depth"), share_y=True),
        Row([*kept, *moved]),
        Row(early, [*ramp_entries(width, "width"), *dotted_limit_entries(few)], share_y=True),
        Row(least, [*ramp_entries(depth, "depth"), *limit_entries(few)], share_y=True),
        Row(early_kept, share_y=True),
    ]


def _ratio_panel(axes: Axes, table: pd.DataFrame, draw: Draw) -> None:
    """From zero, the value that must not be reached."""
    draw(axes, table)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    reference_line(axes, 1.0)


def _deepest_shared(table: pd.DataFrame) -> float:
    """The greatest depth at which the most widths were run."""
    networks = table[table["source"] == "network"]
    if networks.empty:
        return np.nan
    counts = networks.groupby("depth")["width"].nunique()
    return counts.index[counts == counts.max()].max()
