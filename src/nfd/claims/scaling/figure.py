"""Loss against width, depth and compute, and networks beside their limits, drawn (claims C1, C2)."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from nfd.drawing.axes import fix_ticks, linear_y, log_y, size_axis
from nfd.drawing.lines import (
    draw_line,
    entry,
    fit_entries,
    limit_entries,
    line_entries,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import AXIS_LABELS, LIMIT_NAMES, NOT_FITTED, lines_of, name_of
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import dots, ramp_panel, sizes_panel, steps_panel
from nfd.drawing.style import DASHES, INK, Mark, Ramp, mark_of, ramp_of
from nfd.evidence.table import pick, pick_measured

LOSS = "loss, last stretch"
SHOWN_LOSSES = {"batch": "training, last stretch", "train": "training, last step", "test": "test"}


# ---------------------------------------------------------------------------------------------- scaling


def scaling_trend(table: pd.DataFrame) -> list[Row]:
    """Loss against width, depth and compute at one rate for all shapes (claim C1)."""
    depth, width = ramp_of(table, "depth"), ramp_of(table, "width")
    final = pick_measured(table, "final_batch_loss")
    keys = [*ramp_entries(width, "width"), *ramp_entries(depth, "depth")]
    return [
        Row(_scaling_curves(table, width, depth), keys),
        Row(_per_parametrization(final, "width", "depth", depth), share_y=True),
        Row(_per_parametrization(final, "depth", "width", width), share_y=True),
        Row([*_gain_panels(table), _accuracy_panel(table)], line_entries(final)),
        Row([*(_coefficients(table, axis) for axis in ("width", "depth")), _start(table)]),
        Row([_by_rate(table, axis) for axis in ("width", "depth")]),
    ]


def _main_series(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the parametrization listed first: Depth-μP wherever it was run."""
    for row, _ in lines_of(table[table["source"] == "network"]):
        return table[table["parametrization"] == row["parametrization"]]
    return table


def _scaling_curves(table: pd.DataFrame, width: Ramp, depth: Ramp) -> list[Panel]:
    """Training curves of one parametrization by width and by depth, and loss against compute."""
    networks = _main_series(pick_measured(table, "train_loss"))
    by_width, by_depth = _crossing(networks, "depth"), _crossing(networks, "width")
    name = name_of(networks.iloc[0]) if len(networks) else ""
    draw = partial(steps_panel, label="training loss")
    return [
        Panel(
            f"{name}, L = {by_width['depth'].max():g}",
            by_width,
            partial(draw, size="width", ramp=width),
        ),
        Panel(
            f"{name}, n = {by_depth['width'].max():g}",
            by_depth,
            partial(draw, size="depth", ramp=depth),
        ),
        Panel("all networks", _compute(table), _compute_panel),
    ]


def _crossing(table: pd.DataFrame, fixed: str) -> pd.DataFrame:
    """Rows of the width or depth (``fixed``) with most of the other; of several the largest."""
    other = {"width": "depth", "depth": "width"}[fixed]
    numbers = table.groupby(fixed)[other].nunique()
    return table[table[fixed] == numbers[numbers == numbers.max()].index.max()]


def _compute(table: pd.DataFrame) -> pd.DataFrame:
    """Final losses with the training operations of the same network in ``flops``."""
    shape = ["series", "width", "depth"]
    losses = pick_measured(table, "final_batch_loss", source="network")
    operations = pick_measured(table, "flops", source="network")
    operations = operations.loc[operations["estimate"] > 0, [*shape, "estimate"]]
    return losses.merge(operations.rename(columns={"estimate": "flops"}), on=shape)


def _compute_panel(axes: Axes, table: pd.DataFrame) -> None:
    log_y(axes, LOSS)
    axes.set_xscale("log")
    axes.set_xlabel("training compute (flop)")
    for row, points in lines_of(table):
        draw_line(axes, points, "flops", mark_of(row), join=False)


def _per_parametrization(table: pd.DataFrame, x: str, by: str, ramp: Ramp) -> list[Panel]:
    """Final losses over one size, coloured by the other; one panel per parametrization."""
    panels = []
    for row, _ in lines_of(table[table["source"] == "network"]):
        part = table[table["parametrization"] == row["parametrization"]]
        draw = partial(ramp_panel, label=LOSS, x=x, by=by, ramp=ramp)
        panels.append(Panel(name_of(row), part, draw))
    return panels


def _gain_panels(table: pd.DataFrame) -> list[Panel]:
    """What each doubling of the width or the depth removes of the loss."""
    return [
        Panel(
            f"doubling the {size}",
            pick_measured(table, f"{size}_gain"),
            partial(_gain_panel, size=size),
        )
        for size in ("width", "depth")
    ]


def _accuracy_panel(table: pd.DataFrame) -> Panel:
    accuracy = pick_measured(table, "final_test_accuracy", source="network")
    by_depth = _crossing(accuracy, "width")
    draw = partial(sizes_panel, label="test accuracy", x="depth", log=False)
    return Panel(f"test accuracy, n = {by_depth['width'].max():g}", by_depth, draw)


def _coefficients(table: pd.DataFrame, axis: str) -> Panel:
    """Coefficients of 1 / size, of which that of the batch loss decides the claim."""
    found = pick(table, f"{axis}_coefficient")
    own = pick(table, f"{axis}_coefficient_own_rate")
    shown = pd.concat([found.assign(quantity=found["split"]), own.assign(quantity="own")])
    law = {"width": "limit + c / n", "depth": "limit + c / L"}[axis]
    groups = {**SHOWN_LOSSES, "own": "training, own best rate"}
    return dots(f"loss = {law}", shown, "c", groups, (0.0,))


def _by_rate(table: pd.DataFrame, axis: str) -> Panel:
    """The coefficients of batch losses at every rate: a trend may turn round near the edge of stability."""
    rows = pick(table, f"{axis}_coefficient_at_rate")
    return Panel(f"c over {axis} at every rate", rows, _rates_of_c_panel, NOT_FITTED)


def _rates_of_c_panel(axes: Axes, table: pd.DataFrame) -> None:
    linear_y(axes, "c")
    size_axis(axes, "learning_rate", table["learning_rate"])
    reference_line(axes, 0.0)
    for row, points in lines_of(table):
        draw_line(axes, points, "learning_rate", mark_of(row))


def _start(table: pd.DataFrame) -> Panel:
    """What sizes differ by where nothing is trained."""
    groups = {"width_gain_at_start": "width", "depth_gain_at_start": "depth"}
    return dots("before training", table, "share of the loss", groups, (0.0,))


def _gain_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    sizes_panel(axes, table, "loss removed", size, log=False)
    reference_line(axes, 0.0)


def diminishing_returns(table: pd.DataFrame) -> list[Row]:
    """How fast the gains of width and depth shrink (claim C2)."""
    depth, width = ramp_of(table, "depth"), ramp_of(table, "width")
    main = _main_series(table)
    name = name_of(main.iloc[0]) if len(main) else ""
    ratios = {"width_gain_ratio": "width", "depth_gain_ratio": "depth"}
    fitted = table[table["source"] == "fit"]
    return [
        Row(
            [
                Panel(
                    f"{name}: loss over width",
                    _with_fit(main, "width"),
                    partial(ramp_panel, label=LOSS, x="width", by="depth", ramp=depth),
                ),
                Panel(
                    f"{name}: loss over depth",
                    _with_fit(main, "depth"),
                    partial(ramp_panel, label=LOSS, x="depth", by="width", ramp=width),
                ),
            ],
            [*ramp_entries(depth, "depth"), *ramp_entries(width, "width"), *fit_entries(table)],
        ),
        Row(
            [*_gain_panels(table), dots("later / earlier gain", fitted, "ratio", ratios, (0.5, 1))],
            line_entries(table[table["source"] == "network"]),
        ),
    ]


def _with_fit(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Measured losses and the first-order law through them, as one quantity."""
    fitted = pick(table, f"fitted_over_{axis}")
    return pd.concat([pick(table, "final_batch_loss"), fitted])


# --------------------------------------------------------------------------------------- limit_training


def limit_training(table: pd.DataFrame) -> list[Row]:
    """Networks and both limits over a whole training run (claim C2)."""
    width, depth = ramp_of(table, "width"), ramp_of(table, "depth")
    losses = pick_measured(table[table["step"] > 0], "train_loss")
    limits = limit_entries(losses)
    last = losses[losses["step"] == losses["step"].max()]
    depths = sorted(depth)[:1] + sorted(depth)[-1:]
    over_width = partial(ramp_panel, label="training loss", x="width", by="depth", ramp=depth)
    return [
        Row(
            [
                Panel(f"L = {d:g}", losses[losses["depth"] == d], partial(_run_panel, ramp=width))
                for d in dict.fromkeys(depths)
            ],
            [*ramp_entries(width, "width"), *limits],
            share_y=True,
        ),
        Row(
            [
                Panel(
                    "networks minus limit",
                    pick(table, "loss_difference"),
                    partial(_difference_panel, ramp=depth),
                    NOT_FITTED,
                ),
                Panel("after the last step", last, over_width),
            ],
            [*ramp_entries(depth, "depth"), *limits],
        ),
        Row(
            [
                Panel(
                    "doubling the depth, whole run", pick(table, "depth_gain"), _depth_gain_panel
                ),
                _depth_dots(table, "depth_gain_total", "all depths", "loss removed", (0.0,)),
                _depth_dots(table, "depth_gain_ratio", "later / earlier", "ratio", (0.5, 1)),
            ],
            [*limits, entry("networks, n → ∞", _run_mark("fit", ""))],
        ),
        Row([_distances(table), _exponents(table)]),
    ]


def _run_mark(source: str, coupling: str) -> Mark:
    return Mark(INK, DASHES.get(coupling, "-"), "D") if source == "limit" else Mark(INK, ":", "o")


def _run_panel(axes: Axes, table: pd.DataFrame, ramp: Ramp) -> None:
    """Losses over the run: networks coloured by width, limits black with their bands."""
    log_y(axes, "training loss")
    for (source, coupling, size), points in table.groupby(["source", "coupling", "width"]):
        if source == "limit":
            draw_line(axes, points, "step", _run_mark(source, coupling), band=True)
        elif size in ramp:
            mark = Mark(ramp[size], DASHES.get(coupling, "-"))
            draw_line(axes, points, "step", mark, band=True)
    _log_step_axis(axes, table["step"].max())


def _log_step_axis(axes: Axes, last: float) -> None:
    """Steps as they are logged, from 1 on: what parts networks from a limit comes early."""
    axes.set_xscale("log")
    axes.set_xlabel(AXIS_LABELS["step"])
    ticks = [step for step in (1, 3, 10, 30, 100, 300, 1000, 3000) if step <= last]
    fix_ticks(axes, "x", ticks, [f"{step}" for step in ticks])


def _difference_panel(axes: Axes, table: pd.DataFrame, ramp: Ramp) -> None:
    """What parts networks from a limit, relative to the loss lost."""
    linear_y(axes, "share of the loss lost")
    reference_line(axes, 0.0)
    for (series, depth), points in table.groupby(["series", "depth"]):
        dash = DASHES["decoupled" if series.endswith("NFD") else "standard"]
        draw_line(axes, points, "step", Mark(ramp.get(depth, INK), dash))
    _log_step_axis(axes, table["step"].max())


def _depth_gain_panel(axes: Axes, table: pd.DataFrame) -> None:
    linear_y(axes, "loss removed")
    size_axis(axes, "depth", table["depth"])
    reference_line(axes, 0.0)
    for (source, coupling), points in table.groupby(["source", "coupling"]):
        draw_line(axes, points, "depth", _run_mark(source, coupling))


def _depth_dots(
    table: pd.DataFrame, quantity: str, title: str, label: str, references: Sequence[float]
) -> Panel:
    """A number about depth of each limit, and of networks."""
    rows = pick(table, quantity)
    names = rows["coupling"].where(rows["source"] == "limit", "networks")
    groups = {**LIMIT_NAMES, "networks": "networks"}
    return dots(title, rows.assign(quantity=names), label, groups, references)


def _exponents(table: pd.DataFrame) -> Panel:
    """How fast the gain from width falls."""
    rows = pick(table, "width_exponent")
    depths = {f"L = {depth:g}": f"L = {depth:g}" for depth in sorted(rows["depth"].unique())}
    named = rows.assign(quantity=rows["depth"].map("L = {:g}".format))
    return dots("gain of doubling n", named, "exponent of n", depths, (-1.0,))


def _distances(table: pd.DataFrame) -> Panel:
    """Mean squares over the run at the largest depth, and which limit is nearer."""
    difference = "loss_distance_difference"
    found = table[table["quantity"].isin(["loss_distance", difference])]
    deepest = found[found["depth"] == found["depth"].max()]
    of_limits = deepest["series"].where(deepest["quantity"] != difference, difference)
    names = {
        "networks to coupled limit": "to coupled limit",
        "networks to NFD": "to NFD",
        difference: "NFD − coupled limit",
    }
    shown = deepest.assign(quantity=of_limits)
    return dots("squared distance, deepest", shown, "of (loss lost)²", names, (0.0,))
