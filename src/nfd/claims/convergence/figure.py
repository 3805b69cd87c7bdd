"""Finite networks against the two limits, drawn (claim C3)."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nfd.claims.rules import AGREEMENT
from nfd.drawing.axes import fix_ticks, log_y, size_axis
from nfd.drawing.lines import (
    coupling_entries,
    dotted_limit_entries,
    draw_line,
    draw_measured_and_fit,
    limit_entries,
    network_entries,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import LIMIT_NAMES
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import dots, single_matrices_row, steps_panel
from nfd.drawing.style import INK, Mark, Ramp, colour_of, mark_of, ramp_of
from nfd.evidence.table import of_whole_networks, pick, pick_measured, usable


def limit_convergence(table: pd.DataFrame) -> list[Row]:
    """Finite networks against NFD and against the coupled limit (claim C3)."""
    everything, table = table, of_whole_networks(table)
    errors = pick(table, "error_square_over_width")
    depth = ramp_of(errors, "depth")
    over_depth = pd.concat(
        pick(table, f"error_square_{where}") for where in ("over_depth", "at_infinite_depth")
    )
    noise = usable(pick(table, "fluctuation_over_width", series="standard to NFD"))
    losses = pick_measured(table, "train_loss")
    ramp = ramp_of(losses, "depth")
    return [
        Row(
            [
                Panel("against NFD", _against(errors, NFD), partial(_over_width_panel, ramp=depth)),
                Panel(
                    "against the coupled limit",
                    _against(errors, COUPLED),
                    partial(_over_width_panel, ramp=depth),
                ),
                Panel("fluctuation (hollow: step 0)", noise, partial(_noise_panel, ramp=depth)),
            ],
            [*ramp_entries(depth, "depth"), *coupling_entries(errors)],
        ),
        Row(
            [
                Panel("against NFD, L → ∞", _against(over_depth, NFD), _over_depth_panel),
                Panel("against NFD, fresh copies", _against(over_depth, FRESH), _over_depth_panel),
                Panel(
                    "against the coupled limit", _against(over_depth, COUPLED), _over_depth_panel
                ),
            ],
            [*network_entries(over_depth), *limit_entries(over_depth)],
            share_y=True,
        ),
        Row(_distances(table), height=2.9),
        Row(
            _limit_losses(table, losses, ramp),
            [*ramp_entries(ramp, "depth"), *dotted_limit_entries(losses)],
        ),
        *single_matrices_row(
            pick(everything, "error_square_at_infinite_depth", series="standard to NFD"),
            "standard → NFD, L → ∞, each matrix trained alone: networks, then limits",
            "relative to the squared output change",
            (0.0, AGREEMENT**2),
        ),
    ]


NFD, FRESH, COUPLED = "NFD", "NFD, fresh copies", "coupled limit"
DISTANCES = {  # series -> as printed
    "standard to NFD": "standard → NFD",
    "standard to NFD, fresh copies": "standard → NFD, fresh copies",
    "standard to coupled limit": "standard → coupled limit",
    "decoupled to NFD": "decoupled → NFD",
    "NFD to itself": "NFD → NFD, other seeds",
    "coupled limit to itself": "coupled limit → itself, other seeds",
}


def _against(table: pd.DataFrame, limit: str) -> pd.DataFrame:
    return table[table["series"].str.endswith(f" to {limit}")]


def _distances(table: pd.DataFrame) -> list[Panel]:
    """In numbers: distances at infinite depth, which limit is nearer, and how fast things fall."""
    apart = pick(table, "error_square_at_infinite_depth")
    apart = apart.assign(quantity=apart["series"])
    nearer = pick(table, "squared_error_difference")
    nearer = nearer.assign(quantity=nearer["series"])
    loss = pick(table, "loss_exponent")
    loss = loss.assign(quantity=loss["coupling"].map(LIMIT_NAMES))
    over_width = pick(table, "fluctuation_over_width_slope", series="standard to NFD", step=0)
    over_width = over_width[over_width["depth"] == over_width["depth"].max()]
    over_width = over_width.assign(quantity=over_width["depth"].map("L = {:g}".format))
    minus = {
        f"{limit} minus coupled limit": f"{limit}\nminus coupled limit" for limit in (NFD, FRESH)
    }
    rates = {name: f"loss over L,\n{name}" for name in LIMIT_NAMES.values()}
    rates |= {depth: f"fluctuation over n,\n{depth}" for depth in over_width["quantity"]}
    return [
        dots(
            "squared distances, L → ∞",
            pd.concat([apart, nearer]),
            "relative to the squared output change",
            {**DISTANCES, **minus},
            (0.0, AGREEMENT**2),
        ),
        dots(
            "exponents (hollow: step 0)",
            pd.concat([loss, over_width]),
            "exponent",
            rates,
            (-1.0, -0.5),
        ),
    ]


def _over_width_panel(axes: Axes, table: pd.DataFrame, ramp: Ramp) -> None:
    """Squared errors over the width, coloured by depth."""
    log_y(axes, "squared error")
    size_axis(axes, "width", table["width"])
    for (_, depth), points in table.groupby(["series", "depth"]):
        mark = replace(mark_of(points.iloc[0]), marker="o", colour=ramp.get(depth, INK))
        draw_line(axes, points, "width", mark)
    reference_line(axes, AGREEMENT**2)


def _over_depth_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Squared errors over the depth, of networks and of the other limit, and at infinite depth."""
    log_y(axes, "squared error, L → ∞")
    finite = pick(table, "error_square_over_depth")
    networks = finite[finite["source"] == "network"]
    size_axis(axes, "depth", networks["depth"])
    for _, points in finite.groupby(["series", "source"]):
        draw_line(axes, points, "depth", _mark(points.iloc[0]))
    _infinite_depth(axes, pick(table, "error_square_at_infinite_depth"), networks["depth"].max())
    reference_line(axes, AGREEMENT**2)


def _mark(row: pd.Series) -> Mark:
    """Limits are black, networks in their own colour."""
    colour = INK if row["source"] == "limit" else colour_of(row)
    return replace(mark_of(row), colour=colour)


def _infinite_depth(axes: Axes, table: pd.DataFrame, deepest: float) -> None:
    """Errors extrapolated to infinite depth, at an extra tick right of the deepest network."""
    table = usable(table)
    if table.empty or np.isnan(deepest):
        return
    place = 3 * deepest
    for _, point in table.groupby(["series", "source"]):
        mark = replace(_mark(point.iloc[0]), filled=point["coupling"].iloc[0] == "standard")
        draw_line(axes, point.assign(depth=place), "depth", mark)
    depths, formatter = axes.xaxis.get_major_locator()(), axes.xaxis.get_major_formatter()
    fix_ticks(axes, "x", [*depths, place], [*formatter.format_ticks(list(depths)), "∞"])
    axes.set_xlim(right=place * 1.4)


def _noise_panel(axes: Axes, table: pd.DataFrame, ramp: Ramp) -> None:
    """What single networks differ by, with its fits over the width."""
    log_y(axes, "fluctuation over seeds")
    size_axis(axes, "width", table["width"])
    for (_, step, depth), points in table.groupby(["series", "step", "depth"]):
        mark = mark_of(points.iloc[0])
        colour = ramp.get(depth, INK)
        draw_measured_and_fit(axes, points, "width", replace(mark, colour=colour, filled=step > 0))


def _limit_losses(table: pd.DataFrame, losses: pd.DataFrame, ramp: Ramp) -> list[Panel]:
    """Training curves beside those of the limit, and the last losses over depth."""
    draw = partial(steps_panel, label="training loss", size="depth", ramp=ramp)
    last = losses[losses["step"] == losses["step"].max()]
    fits = pick(table, "train_loss", source="fit")
    return [
        Panel("decoupled networks and NFD", losses[losses["coupling"] == "decoupled"], draw),
        Panel(
            "standard networks and coupled limit", losses[losses["coupling"] == "standard"], draw
        ),
        Panel("after the last step, limits with fit", pd.concat([last, fits]), _last_losses_panel),
    ]


def _last_losses_panel(axes: Axes, table: pd.DataFrame) -> None:
    log_y(axes, "training loss")
    size_axis(axes, "depth", table.loc[table["source"] != "fit", "depth"])
    for _, points in table[table["source"] == "network"].groupby("coupling"):
        draw_line(axes, points, "depth", _mark(points.iloc[0]))
    for _, points in table[table["source"] != "network"].groupby("coupling"):
        limit = points[points["source"] == "limit"]
        if len(limit):
            draw_measured_and_fit(axes, points, "depth", _mark(limit.iloc[0]))
