"""Loss against width, depth and compute, drawn (claims C1, C2)."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from nfd.drawing.axes import log_y
from nfd.drawing.lines import (
    draw_line,
    fit_entries,
    limit_entries,
    line_entries,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import NOT_FITTED, lines_of, name_of
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import dots, ramp_panel, sizes_panel, steps_panel
from nfd.drawing.style import Ramp, mark_of, ramp_of
from nfd.evidence.table import pick, pick_measured


def scaling_trend(table: pd.DataFrame) -> list[Row]:
    """Loss against width, depth and compute (claim C1)."""
    depth, width = ramp_of(table, "depth"), ramp_of(table, "width")
    final = pick_measured(table, "final_train_loss")
    keys = [*ramp_entries(width, "width"), *ramp_entries(depth, "depth"), *limit_entries(final)]
    return [
        Row(_scaling_curves(table, width, depth), keys),
        Row(_per_parametrization(final, "width", "depth", depth), share_y=True),
        Row(_per_parametrization(final, "depth", "width", width), share_y=True),
        Row(
            [*_gain_panels(table, "train"), _accuracy_panel(table)],
            line_entries(final[final["source"] == "network"]),
        ),
        Row([*_gain_panels(table, "test"), _mean_gains(table)]),
    ]


def _main_series(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the parametrization listed first: Depth-μP wherever it was run."""
    for row, _ in lines_of(table[table["source"] == "network"]):
        return table[table["parametrization"] == row["parametrization"]]
    return table


def _scaling_curves(table: pd.DataFrame, width: Ramp, depth: Ramp) -> list[Panel]:
    """Training curves of one parametrization by width and by depth, and loss against compute."""
    curves = _main_series(pick_measured(table, "train_loss"))
    networks = curves[curves["source"] == "network"]
    deepest, widest = networks["depth"].max(), networks["width"].max()
    by_width = networks[networks["depth"] == deepest]
    by_depth = curves[(curves["width"] == widest) | (curves["source"] == "limit")]
    name = name_of(networks.iloc[0]) if len(networks) else ""
    draw = partial(steps_panel, label="training loss")
    return [
        Panel(f"{name}, L = {deepest:g}", by_width, partial(draw, size="width", ramp=width)),
        Panel(f"{name}, n = {widest:g}", by_depth, partial(draw, size="depth", ramp=depth)),
        Panel("all networks", _compute(table), _compute_panel),
    ]


def _compute(table: pd.DataFrame) -> pd.DataFrame:
    """Final training losses with the training operations of the same network in ``flops``."""
    shape = ["series", "width", "depth"]
    losses = pick_measured(table, "final_train_loss", source="network")
    operations = pick_measured(table, "flops", source="network")
    operations = operations.loc[operations["estimate"] > 0, [*shape, "estimate"]]
    return losses.merge(operations.rename(columns={"estimate": "flops"}), on=shape)


def _compute_panel(axes: Axes, table: pd.DataFrame) -> None:
    log_y(axes, "final training loss")
    axes.set_xscale("log")
    axes.set_xlabel("training compute (flop)")
    for row, points in lines_of(table):
        draw_line(axes, points, "flops", mark_of(row), join=False)


def _per_parametrization(table: pd.DataFrame, x: str, by: str, ramp: Ramp) -> list[Panel]:
    """Final losses over one size, coloured by the other; one panel per parametrization."""
    panels = []
    for row, _ in lines_of(table[table["source"] == "network"]):
        part = table[table["parametrization"] == row["parametrization"]]
        draw = partial(ramp_panel, label="final training loss", x=x, by=by, ramp=ramp)
        panels.append(Panel(name_of(row), part, draw))
    return panels


def _gain_panels(table: pd.DataFrame, split: str) -> list[Panel]:
    """What each doubling of the width or the depth removes of the training or test loss."""
    name = {"train": "training", "test": "test"}[split]
    return [
        Panel(
            f"{name} loss, doubling the {size}",
            pick_measured(table, f"{split}_loss_gain_{size}"),
            partial(_gain_panel, size=size),
        )
        for size in ("width", "depth")
    ]


def _accuracy_panel(table: pd.DataFrame) -> Panel:
    accuracy = pick_measured(table, "final_test_accuracy", source="network")
    widest = accuracy[accuracy["width"] == accuracy["width"].max()]
    draw = partial(sizes_panel, label="test accuracy", x="depth", log=False)
    return Panel(f"test accuracy, n = {widest['width'].max():g}", widest, draw)


def _mean_gains(table: pd.DataFrame) -> Panel:
    """The gains averaged over all neighbours, which decide the claim."""
    groups = {
        f"{split}_loss_gain_{size}_mean": f"{name}, {size}"
        for split, name in (("train", "training"), ("test", "test"))
        for size in ("width", "depth")
    }
    return dots("mean over doublings", table, "fraction removed", groups, (0.0,))


def _gain_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    sizes_panel(axes, table, "fraction removed", size, log=False)
    reference_line(axes, 0.0)


def diminishing_returns(table: pd.DataFrame) -> list[Row]:
    """How fast the gains of width and depth shrink (claim C2)."""
    depth, width = ramp_of(table, "depth"), ramp_of(table, "width")
    losses = _main_series(pick(table, "final_train_loss"))
    excess = _main_series(pick(table, "excess_train_loss"))
    over_width = partial(ramp_panel, x="width", by="depth", ramp=depth)
    over_depth = partial(ramp_panel, x="depth", by="width", ramp=width)
    name = name_of(losses.iloc[0]) if len(losses) else ""
    loss, above = "final training loss", "excess training loss"
    fitted = table[table["source"] == "fit"]
    limits = pick(table, "limit_loss")
    limits = limits.assign(quantity=limits["source"])
    exponents = {"width_exponent": "α (width)", "depth_exponent": "β (depth)"}
    declines = {"gain_decline_width": "width", "gain_decline_depth": "depth"}
    return [
        Row(
            [
                Panel(f"{name}: loss over width", losses, partial(over_width, label=loss)),
                Panel(
                    f"{name}: above the limit", excess, partial(over_width, label=above), NOT_FITTED
                ),
            ],
            [*ramp_entries(depth, "depth"), *fit_entries(losses), *limit_entries(losses)],
        ),
        Row(
            [
                Panel(f"{name}: loss over depth", losses, partial(over_depth, label=loss)),
                Panel(
                    f"{name}: above the limit", excess, partial(over_depth, label=above), NOT_FITTED
                ),
            ],
            ramp_entries(width, "width"),
        ),
        Row(
            [
                dots("exponents of the fit", fitted, "exponent", exponents),
                dots("limiting loss", limits, "loss", {"fit": "fit", "limit": "simulated"}),
                dots("decline of the gain", fitted, "loss per doubling", declines, (0.0,)),
            ],
            line_entries(fitted[fitted["quantity"].isin(exponents)]),
        ),
    ]
