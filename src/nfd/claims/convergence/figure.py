"""Finite networks against the two limits, drawn (claim C3)."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nfd.drawing.axes import fix_ticks, log_y, size_axis
from nfd.drawing.lines import (
    coupling_entries,
    dotted_limit_entries,
    draw_line,
    draw_measured_and_fit,
    floor_entries,
    limit_entries,
    network_entries,
    ramp_entries,
)
from nfd.drawing.names import decimals, interval_text
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import add_note, dots, steps_panel
from nfd.drawing.style import FAINT, INK, Ramp, colour_of, mark_of, ramp_of
from nfd.evidence.table import pick, pick_measured, usable


def limit_convergence(table: pd.DataFrame) -> list[Row]:
    """Finite networks against NFD and against the coupled limit (claim C3)."""
    depth = ramp_of(pick_measured(table, "bias_over_width"), "depth")
    to_nfd = table[table["series"].isin(("standard to NFD", "decoupled to NFD"))]
    to_coupled = table[table["series"] == "standard to coupled limit"]
    bias = partial(_bias_panel, label="error against the limit")
    noise = partial(_fluctuation_panel, label="fluctuation over seeds")
    losses = pick_measured(table, "train_loss")
    ramp = ramp_of(losses, "depth")
    return [
        Row(
            [
                Panel(
                    "against NFD", _errors(to_nfd, "width"), partial(bias, x="width", ramp=depth)
                ),
                Panel(
                    "against the coupled limit",
                    _errors(to_coupled, "width"),
                    partial(bias, x="width", ramp=depth),
                ),
                Panel(
                    "fluctuation (hollow: step 0)",
                    usable(pick(to_nfd, "fluctuation_over_width")),
                    partial(noise, x="width", ramp=depth),
                ),
            ],
            [*ramp_entries(depth, "depth"), *coupling_entries(table), *floor_entries(table)],
            share_y=True,
        ),
        Row(
            [
                Panel("against NFD, L → ∞", _errors(to_nfd, "depth"), partial(bias, x="depth")),
                Panel(
                    "against the coupled limit, L → ∞",
                    _errors(to_coupled, "depth"),
                    partial(bias, x="depth"),
                ),
                Panel(
                    "fluctuation, widest networks",
                    pick_measured(to_nfd, "fluctuation_over_depth"),
                    partial(noise, x="depth"),
                ),
            ],
            [*network_entries(to_nfd), *limit_entries(pick_measured(table, "bias_over_depth"))],
            share_y=True,
        ),
        Row(_distances(table)),
        Row(
            _limit_losses(losses, ramp),
            [*ramp_entries(ramp, "depth"), *dotted_limit_entries(losses)],
        ),
    ]


COMPARED = {  # series -> as printed
    "standard to NFD": "standard → NFD",
    "standard to coupled limit": "standard → coupled limit",
    "decoupled to NFD": "decoupled → NFD",
}


def _distances(table: pd.DataFrame) -> list[Panel]:
    """In numbers: which limit is nearer, where the error levels off, and how fast it falls."""
    nearer = pick(table, "squared_error_difference")
    levels = pick(table, "bias_over_depth_plateau")
    levels = levels.assign(quantity=levels["series"])
    over_depth = pick(table, "bias_over_depth_slope")
    over_depth = over_depth.assign(quantity=over_depth["series"])
    over_width = pick(table, "fluctuation_over_width_slope", series="standard to NFD", step=0)
    over_width = over_width[over_width["depth"] == over_width["depth"].max()]
    over_width = over_width.assign(quantity=over_width["depth"].map("L = {:g}".format))
    distances = {"squared_error_difference": "squared error at L → ∞,\nNFD − coupled limit"}
    distances |= {series: f"error levels off,\n{name}" for series, name in COMPARED.items()}
    rates = {series: f"error over L,\n{name}" for series, name in COMPARED.items()}
    rates |= {depth: f"fluctuation over n,\n{depth}" for depth in over_width["quantity"]}
    return [
        dots(
            "distance from the limits",
            pd.concat([nearer, levels]),
            "relative to the output change",
            distances,
            (0.0,),
        ),
        dots(
            "exponents (hollow: step 0)",
            pd.concat([over_depth, over_width]),
            "exponent",
            rates,
            (-1.0, -0.5),
        ),
    ]


def _errors(table: pd.DataFrame, size: str) -> pd.DataFrame:
    names = [f"bias_over_{size}", f"bias_over_{size}_floor", f"bias_over_{size}_slope"]
    if size == "depth":
        names.append("bias_at_infinite_depth")
    return table[table["quantity"].isin(names)]


def _bias_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, ramp: Ramp | None = None
) -> None:
    """Errors over a size with their fits and noise floors; colour by depth if there is a ramp."""
    log_y(axes, label)
    quantity = f"bias_over_{x}"
    size_axis(axes, x, table.loc[table["source"] != "fit", x])
    networks = pick(table, quantity)
    by = ["series", "depth"] if ramp else ["series"]
    for _, points in networks[networks["source"] != "limit"].groupby(by):
        first = points.iloc[0]
        colour = ramp.get(first["depth"], INK) if ramp else colour_of(first)
        mark = replace(mark_of(first), marker="o", colour=colour)
        draw_measured_and_fit(axes, points, x, mark)
    for _, points in pick(table, quantity, source="limit").groupby("series"):
        draw_line(axes, points, x, replace(mark_of(points.iloc[0]), colour=INK))
    floors = usable(pick(table, f"{quantity}_floor"))
    for keys, points in floors.groupby([*by, "source"]):
        colour = ramp.get(keys[1], FAINT) if ramp else FAINT
        points = points.sort_values(x)
        axes.plot(
            points[x], points["estimate"], color=colour, linestyle=":", linewidth=0.8, alpha=0.7
        )
    if x == "depth":
        _infinite_depth(axes, usable(pick(table, "bias_at_infinite_depth")), networks[x].max())
    add_note(axes, _slopes_note(table, f"{quantity}_slope"))


def _infinite_depth(axes: Axes, table: pd.DataFrame, deepest: float) -> None:
    """Errors extrapolated to infinite depth, at an extra tick right of the deepest network."""
    if table.empty or np.isnan(deepest):
        return
    place = 3 * deepest
    for _, point in table.groupby(["series", "source"]):
        row = point.iloc[0]
        colour = INK if row["source"] == "limit" else colour_of(row)
        mark = replace(mark_of(row), colour=colour, filled=row["coupling"] == "standard")
        draw_line(axes, point.assign(depth=place), "depth", mark)
    depths, formatter = axes.xaxis.get_major_locator()(), axes.xaxis.get_major_formatter()
    fix_ticks(axes, "x", [*depths, place], [*formatter.format_ticks(list(depths)), "∞"])
    axes.set_xlim(right=place * 1.4)


def _slopes_note(table: pd.DataFrame, quantity: str) -> str:
    """The fitted slopes of a panel with few of them; of many, their range."""
    rows = usable(pick(table, quantity, source="fit"))
    if rows.empty:
        return ""
    if len(rows) == 1:
        return f"slope {interval_text(rows.iloc[0])}"
    return f"slopes {decimals(rows['estimate'].min())} to {decimals(rows['estimate'].max())}"


def _fluctuation_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, ramp: Ramp | None = None
) -> None:
    """What single networks differ by; with a ramp coloured by depth, with fits over the width."""
    log_y(axes, label)
    size_axis(axes, x, table[x])
    by = ["series", "step", "depth"] if ramp else ["series", "step"]
    for _, points in table.groupby(by):
        first = points.iloc[0]
        colour = ramp.get(first["depth"], INK) if ramp else colour_of(first)
        mark = replace(mark_of(first), colour=colour, filled=first["step"] > 0)
        draw_measured_and_fit(axes, points, x, mark)


def _limit_losses(losses: pd.DataFrame, ramp: Ramp) -> list[Panel]:
    """Training curves beside those of the limit, and the last losses over depth."""
    draw = partial(steps_panel, label="training loss", size="depth", ramp=ramp)
    last = losses[losses["step"] == losses["step"].max()]
    return [
        Panel("decoupled networks and NFD", losses[losses["coupling"] == "decoupled"], draw),
        Panel(
            "standard networks and coupled limit", losses[losses["coupling"] == "standard"], draw
        ),
        Panel("after the last step", last, _last_losses_panel),
    ]


def _last_losses_panel(axes: Axes, table: pd.DataFrame) -> None:
    log_y(axes, "training loss")
    size_axis(axes, "depth", table["depth"])
    for _, points in table.groupby(["coupling", "source"]):
        first = points.iloc[0]
        colour = INK if first["source"] == "limit" else colour_of(first)
        draw_line(axes, points, "depth", replace(mark_of(first), colour=colour))
