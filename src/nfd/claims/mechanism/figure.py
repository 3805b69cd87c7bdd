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
    draw_line,
    draw_measured_and_fit,
    fit_entries,
    floor_entries,
    limit_entries,
    network_entries,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import LIMIT_NAMES, NOT_FITTED, fitted_number, lines_of, stack
from nfd.drawing.page import Draw, Panel, Row
from nfd.drawing.panels import ramp_panel, steps_panel
from nfd.drawing.style import FAINT, INK, colour_of, mark_of, ramp_of
from nfd.evidence.table import pick, pick_measured, usable


def vanishing_mechanism(table: pd.DataFrame) -> list[Row]:
    """The coupling of W with its transpose that training creates, over depth (claim C5)."""
    ramp = ramp_of(table, "depth")
    quantities = {"coupling_layer": "per layer", "coupling_accumulated": "summed"}
    sides = {"standard": "standard", "decoupled": "decoupled"}
    curves, created = [], []
    for quantity, name in quantities.items():
        for coupling, side in sides.items():
            rows = pick_measured(table, quantity, coupling=coupling)
            draw = partial(steps_panel, label="coupling (rms)", size="depth", ramp=ramp)
            curves.append(Panel(f"{name}, {side}", rows, draw))
        rows = table[table["quantity"].str.startswith(f"{quantity}_created")]
        draw = partial(_created_panel, quantity=f"{quantity}_created")
        created.append(Panel(f"created by training, {name}", rows, draw))
    coupling = pick_measured(table, "coupling_layer")
    return [
        Row(curves, [*ramp_entries(ramp, "depth"), *dotted_limit_entries(coupling)], share_y=True),
        Row(
            created,
            [*network_entries(table), *limit_entries(coupling), *floor_entries(table)],
            height=2.1,
        ),
    ]


def _created_panel(axes: Axes, table: pd.DataFrame, quantity: str) -> None:
    """What training added to the coupling, with its slope in depth and the value at step 0 (dotted)."""
    log_y(axes, "created coupling (rms)")
    measured = pick_measured(table, quantity)
    size_axis(axes, "depth", measured["depth"])
    names = {("network", "standard"): "standard", ("network", "decoupled"): "decoupled"}
    names |= {("limit", coupling): name for coupling, name in LIMIT_NAMES.items()}
    for (source, coupling), points in measured.groupby(["source", "coupling"], sort=False):
        first = points.iloc[0]
        limit = source == "limit"
        mark = replace(mark_of(first), colour=INK if limit else colour_of(first))
        series = first["series"] + (", limit" if limit else "")
        mine = table[table["series"] == series]
        slope = fitted_number(mine, f"{quantity}_slope", "slope")
        fit = pick(mine, quantity, source="fit")
        both = pd.concat([points, fit])
        label = stack(names.get((source, coupling), series), slope)
        draw_measured_and_fit(axes, both, "depth", mark, label=label)
    floors = usable(pick(table, f"{quantity}_floor"))
    for _, points in floors.groupby(["source", "coupling"]):
        points = points.sort_values("depth")
        axes.plot(points["depth"], points["estimate"], color=FAINT, linestyle=":", linewidth=0.8)


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
    width, depth = ramp_of(table, "width"), ramp_of(table, "depth")
    label = "least eigenvalue"
    steps, minima, ratios = [], [], []
    eigenvalues = pick_measured(table, "kernel_min_eigenvalue")
    shared = _deepest_shared(eigenvalues)
    for coupling, side in (("standard", "standard"), ("decoupled", "decoupled")):
        rows = eigenvalues[(eigenvalues["coupling"] == coupling) & (eigenvalues["depth"] == shared)]
        draw = partial(steps_panel, label=label, size="width", ramp=width)
        steps.append(Panel(f"{side}, L = {shared:g}", rows, draw))
        over_width = partial(ramp_panel, x="width", by="depth", ramp=depth)
        least = pick_measured(table, "kernel_minimum", coupling=coupling)
        minima.append(Panel(f"{side}: least over steps", least, partial(over_width, label=label)))
        ratio = pick_measured(table, "kernel_ratio", coupling=coupling)
        draw = partial(_ratio_panel, draw=partial(over_width, label="ratio", log=False))
        ratios.append(Panel(f"{side}: least / initial", ratio, draw))
    keys = dotted_limit_entries(eigenvalues)
    return [
        Row(steps, [*ramp_entries(width, "width"), *keys], share_y=True),
        Row(minima, [*ramp_entries(depth, "depth"), *limit_entries(table)], share_y=True),
        Row(ratios, share_y=True),
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
