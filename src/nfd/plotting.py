"""One function per figure: a table of evidence in, a matplotlib figure out.

:data:`FIGURES` maps each figure's name to a function of ``(evidence, context)``; the evidence has the
columns of :data:`nfd.evidence.EVIDENCE_COLUMNS` and the meaning the docstrings there give. Nothing is
computed here but positions and colours, so what is drawn is what is judged. :mod:`nfd.drawing` says how
lines, axes and pages look; a function here only lists which rows of the table go into which panel.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nfd.drawing import (
    DASHES,
    FAINT,
    FORMATS,
    INK,
    LIMIT_NAMES,
    STYLE,
    Context,
    Draw,
    Mark,
    Panel,
    Row,
    add_note,
    colour_of,
    coupling_entries,
    decimals,
    diverged_note,
    dots_panel,
    draw_closed_form,
    draw_line,
    draw_measured_and_fit,
    edge_marks,
    end_label,
    entry,
    exponent_text,
    fitted_number,
    fix_ticks,
    interval_text,
    is_control,
    limit_entries,
    line_entries,
    linear_y,
    lines_of,
    log_y,
    make_page,
    mark_of,
    name_of,
    order_of,
    pick,
    pick_measured,
    power_of_two,
    ramp_entries,
    ramp_of,
    ramp_panel,
    reference_line,
    save,
    save_as,
    size_axis,
    sizes_panel,
    stack,
    steps_panel,
    tidy,
    usable,
)
from nfd.training.optimizers import OPTIMIZERS

__all__ = ["FIGURES", "FORMATS", "Context", "save", "save_as"]

FigureFunction = Callable[[pd.DataFrame, Context], Figure]
FIGURES: dict[str, FigureFunction] = {}


def _figure(rows_of: Callable[[pd.DataFrame], list[Row]]) -> FigureFunction:
    """Register a function that lists a figure's rows as the figure of its name."""

    @wraps(rows_of)
    def draw(evidence: pd.DataFrame, context: Context) -> Figure:
        with rc_context(dict(STYLE)):
            table = tidy(evidence)
            return make_page(rows_of(table), table, context)

    FIGURES[rows_of.__name__] = draw
    return draw


# --------------------------------------------------------------------------------------------- the figures


@_figure
def gia_restoration(table: pd.DataFrame) -> list[Row]:
    """Standard against decoupled training over depth (claim C4)."""
    losses = pick_measured(table, "train_loss")
    ramp = ramp_of(losses, "depth")
    gaps = table[table["quantity"].str.startswith("output_gap")]
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
        draw = partial(_noted, diverged_note(lost), curves)
        panels.append(Panel(name_of(kind, coupling=False), part, draw))
    legend = [*ramp_entries(ramp, "depth"), *coupling_entries(losses)]
    for start in range(0, len(panels), 3):
        yield Row(panels[start : start + 3], legend if start == 0 else [], share_y=True)


def _noted(note: str, draw: Draw, axes: Axes, table: pd.DataFrame) -> None:
    draw(axes, table)
    add_note(axes, note)


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


@_figure
def scaling_trend(table: pd.DataFrame) -> list[Row]:
    """Loss against width, depth and compute (claim C1)."""
    depth, width = ramp_of(table, "depth"), ramp_of(table, "width")
    final = pick_measured(table, "final_train_loss")
    keys = [*ramp_entries(width, "width"), *ramp_entries(depth, "depth"), *limit_entries(final)]
    return [
        Row(_scaling_curves(table, width, depth), keys),
        Row(_per_parametrization(final, "width", "depth", depth), share_y=True),
        Row(_per_parametrization(final, "depth", "width", width), share_y=True),
        Row(_gain_panels(table), line_entries(final[final["source"] == "network"])),
    ]


def _main_series(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the parametrization listed first: Depth-μP wherever it was run."""
    for row, _ in lines_of(table[table["source"] == "network"]):
        return table[table["parametrization"] == row["parametrization"]]
    return table


def _scaling_curves(table: pd.DataFrame, width: Mapping, depth: Mapping) -> list[Panel]:
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


def _per_parametrization(
    table: pd.DataFrame, x: str, by: str, ramp: Mapping[float, str]
) -> list[Panel]:
    """Final losses over one size, coloured by the other; one panel per parametrization."""
    panels = []
    for row, _ in lines_of(table[table["source"] == "network"]):
        part = table[table["parametrization"] == row["parametrization"]]
        draw = partial(ramp_panel, label="final training loss", x=x, by=by, ramp=ramp)
        panels.append(Panel(name_of(row), part, draw))
    return panels


def _gain_panels(table: pd.DataFrame) -> list[Panel]:
    panels = []
    for size in ("width", "depth"):
        gains = pick_measured(table, f"train_loss_gain_{size}")
        panels.append(Panel(f"gain of doubling the {size}", gains, partial(_gain_panel, size=size)))
    accuracy = pick_measured(table, "final_test_accuracy", source="network")
    widest = accuracy[accuracy["width"] == accuracy["width"].max()]
    draw = partial(sizes_panel, label="test accuracy", x="depth", log=False)
    return [*panels, Panel(f"test accuracy, n = {widest['width'].max():g}", widest, draw)]


def _gain_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    sizes_panel(axes, table, "fraction removed", size, log=False)
    reference_line(axes, 0.0)


@_figure
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
                Panel(f"{name}: above the limit", excess, partial(over_width, label=above)),
            ],
            [*ramp_entries(depth, "depth"), *_fit_entries(losses), *limit_entries(losses)],
        ),
        Row(
            [
                Panel(f"{name}: loss over depth", losses, partial(over_depth, label=loss)),
                Panel(f"{name}: above the limit", excess, partial(over_depth, label=above)),
            ],
            ramp_entries(width, "width"),
        ),
        Row(
            [
                _dots("exponents of the fit", fitted, "exponent", exponents),
                _dots("limiting loss", limits, "loss", {"fit": "fit", "limit": "simulated"}),
                _dots("decline of the gain", fitted, "loss per doubling", declines, (0.0,)),
            ],
            line_entries(fitted[fitted["quantity"].isin(exponents)]),
        ),
    ]


def _fit_entries(table: pd.DataFrame) -> list[Line2D]:
    fits = (table["source"] == "fit").any()
    return [entry("fit", Mark(), marker=False)] if fits else []


def _dots(
    title: str,
    table: pd.DataFrame,
    label: str,
    groups: Mapping[str, str],
    references: Sequence[float] = (),
) -> Panel:
    rows = table[table["quantity"].isin(groups)]
    return Panel(
        title, rows, partial(dots_panel, label=label, groups=groups, references=references)
    )


@_figure
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
                    pick_measured(to_nfd, "fluctuation_over_width"),
                    partial(noise, x="width", ramp=depth),
                ),
            ],
            [*ramp_entries(depth, "depth"), *coupling_entries(table), *_floor_entries(table)],
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
            [*_network_entries(to_nfd), *limit_entries(pick_measured(table, "bias_over_depth"))],
            share_y=True,
        ),
        Row(_limit_losses(losses, ramp), [*ramp_entries(ramp, "depth"), *_loss_entries(losses)]),
    ]


def _errors(table: pd.DataFrame, size: str) -> pd.DataFrame:
    names = [f"bias_over_{size}", f"bias_over_{size}_floor", f"bias_over_{size}_slope"]
    if size == "depth":
        names.append("bias_at_infinite_depth")
    return table[table["quantity"].isin(names)]


def _floor_entries(table: pd.DataFrame) -> list[Line2D]:
    floors = table["quantity"].str.endswith("_floor").any()
    return [entry("noise floor", Mark(FAINT, ":"), marker=False)] if floors else []


def _network_entries(table: pd.DataFrame) -> list[Line2D]:
    """Networks of one parametrization by coupling, in its colour."""
    networks = table[table["source"] == "network"]
    names = {"standard": "standard networks", "decoupled": "decoupled networks"}
    rows = networks.drop_duplicates("coupling").set_index("coupling", drop=False)
    return [entry(names[c], mark_of(rows.loc[c])) for c in names if c in rows.index]


def _bias_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, ramp: Mapping | None = None
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
    depths, texts = axes.xaxis.get_major_locator().locs, axes.xaxis.get_major_formatter().seq
    fix_ticks(axes, "x", [*depths, place], [*texts, "∞"])
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
    axes: Axes, table: pd.DataFrame, label: str, x: str, ramp: Mapping | None = None
) -> None:
    log_y(axes, label)
    size_axis(axes, x, table[x])
    by = ["series", "step", "depth"] if ramp else ["series", "step"]
    for _, points in table.groupby(by):
        first = points.iloc[0]
        colour = ramp.get(first["depth"], INK) if ramp else colour_of(first)
        mark = replace(mark_of(first), colour=colour, filled=first["step"] > 0)
        draw_line(axes, points, x, mark)


def _limit_losses(losses: pd.DataFrame, ramp: Mapping) -> list[Panel]:
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


def _loss_entries(losses: pd.DataFrame) -> list[Line2D]:
    limits = (losses["source"] == "limit").any()
    return [entry("limit", Mark(INK, ":", "D", filled=False))] if limits else []


@_figure
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
        Row(curves, [*ramp_entries(ramp, "depth"), *_loss_entries(coupling)], share_y=True),
        Row(
            created,
            [*_network_entries(table), *limit_entries(coupling), *_floor_entries(table)],
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


@_figure
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
            [*ramp_entries(ramp, "depth"), *_fit_entries(table), *coupling_entries(table)],
        ),
        Row(
            [
                Panel("widest networks, over depth", over_depth, _initial_depth_panel),
                Panel(
                    "exponent of the mean square in width",
                    exponents,
                    partial(_initial_slopes_panel, names=slopes),
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


@_figure
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
    keys = _loss_entries(eigenvalues)
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


@_figure
def depth_transfer(table: pd.DataFrame) -> list[Row]:
    """Transfer of the best learning rate over depth, one-layer blocks (claim C7)."""
    return _transfer(table, "depth")


@_figure
def width_transfer(table: pd.DataFrame) -> list[Row]:
    """Transfer of the best learning rate over width (claim C8)."""
    return _transfer(table, "width")


@_figure
def depth_transfer_2(table: pd.DataFrame) -> list[Row]:
    """Transfer over depth with two-layer blocks, and the controls (claims C10, C11)."""
    return _transfer(table, "depth")


def _transfer(table: pd.DataFrame, size: str) -> list[Row]:
    """Loss against learning rate for every network; below, best rate and regret over the size."""
    table = _widest_other(table, size)
    ramp = ramp_of(pick(table, "final_train_loss"), size)
    parts = [
        (table[table["optimizer"] == name], kind.printed_name) for name, kind in OPTIMIZERS.items()
    ]
    parts = [(part, f", {text}") for part, text in parts if len(part)]
    if len(parts) == 1:
        parts = [(parts[0][0], "")]  # the foot says which
    rows = [row for part, suffix in parts for row in _loss_curve_rows(part, suffix, size, ramp)]
    if rows:
        rows[0] = replace(rows[0], legend=_transfer_entries(table, size, ramp))
    return rows + [row for part, suffix in parts for row in _transfer_summaries(part, suffix, size)]


def _widest_other(table: pd.DataFrame, size: str) -> pd.DataFrame:
    """Transfer over one size is drawn at the largest value of the other."""
    other = "width" if size == "depth" else "depth"
    return table[table[other].isna() | (table[other] == table[other].max())]


def _transfer_entries(table: pd.DataFrame, size: str, ramp: Mapping[float, str]) -> list[Line2D]:
    keys = ramp_entries(ramp, size)
    keys.append(entry("best of the grid", Mark(INK, filled=False), line=False))
    if len(pick(table, "diverged_runs")):
        keys.append(entry("next rate diverges", Mark(INK, ":"), marker=False))
    return keys


def _loss_curve_rows(
    table: pd.DataFrame, suffix: str, size: str, ramp: Mapping[float, str]
) -> list[Row]:
    """Small panels of loss against learning rate, at most four in a row."""
    losses = pick(table, "final_train_loss", source="network")
    lost, best = pick(table, "diverged_runs"), pick(table, "best_train_loss", source="network")
    panels = []
    for row, part in lines_of(losses):
        mine = [part, *(rows[rows["series"] == row["series"]] for rows in (lost, best))]
        draw = partial(_rates_panel, size=size, ramp=ramp)
        panels.append(Panel(f"{_short_name(row)}{suffix}", pd.concat(mine), draw))
    across = 4 if len(panels) in (4, 7, 8) or len(panels) > 9 else 3
    rows = [panels[start : start + across] for start in range(0, len(panels), across)]
    return [Row(panels, height=1.75, share_y=True) for panels in rows]


def _short_name(row: pd.Series) -> str:
    """A line's name for the title of a small panel."""
    return name_of(row).replace("corrected, p = ", "p = ")


def _rates_panel(axes: Axes, table: pd.DataFrame, size: str, ramp: Mapping[float, str]) -> None:
    """Final training loss against learning rate; rings at the best of the grid."""
    losses = pick(table, "final_train_loss")
    log_y(axes, "final training loss")
    size_axis(axes, "learning_rate", losses["learning_rate"])
    for value, points in losses.groupby(size):
        mark = Mark(ramp[value], marker="o")
        draw_line(axes, points, "learning_rate", mark)
        best = usable(pick(table, "best_train_loss", **{size: value}))
        axes.plot(
            best["learning_rate"], best["estimate"], "o", color=INK, markersize=6,
            markerfacecolor="none", zorder=5,
        )  # fmt: skip
        _rise(axes, points.sort_values("learning_rate"), ramp[value])
    add_note(axes, diverged_note(table))


def _rise(axes: Axes, points: pd.DataFrame, colour: str) -> None:
    """From every stable rate followed by a diverging one, a dotted line out of the panel."""
    rates, losses = points["learning_rate"].to_numpy(), points["estimate"].to_numpy()
    ends = [i for i in range(len(rates) - 1) if np.isfinite(losses[i]) > np.isfinite(losses[i + 1])]
    rises = [((rates[i], losses[i]), (rates[i + 1], 1e3 * losses[i])) for i in ends]
    axes.add_collection(
        LineCollection(rises, colors=colour, linestyles=":", linewidths=0.9), autolim=False
    )


def _transfer_summaries(table: pd.DataFrame, suffix: str, size: str) -> list[Row]:
    """Best rate and regret over the size; controls, if there are any, in a row of their own."""
    control = table.apply(is_control, axis=1) | (table["coupling"] == "decoupled")
    groups = [(table[~control], suffix)]
    if control.any():
        corrected = table["parametrization"] == "depth_mup_corrected"
        groups.append((table[control | corrected], f"{suffix}, controls"))
    rows = []
    for part, title in groups:
        best, regret = _best_rates(part), pick(part, "regret").dropna(subset="estimate")
        panels = [
            Panel(f"best learning rate{title}", best, partial(_best_rate_panel, size=size)),
            Panel(f"regret of transferring{title}", regret, partial(_regret_panel, size=size)),
        ]
        rows.append(Row(panels, height=2.0))
    return rows


def _best_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Best rates and drifts; an optimum at the grid's edge is put there, flagged in ``at_edge``."""
    rows = table[table["quantity"].isin(("best_learning_rate", "drift"))]
    at_edge = (rows["source"] == "network") & rows["estimate"].isna()
    return rows.assign(
        estimate=rows["estimate"].where(~at_edge, rows["learning_rate"]), at_edge=at_edge
    )


def _best_rate_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    """Best rates with the line fitted to them; hollow where the optimum lies at the grid's edge."""
    best = pick(table, "best_learning_rate")
    axes.set_yscale("log", base=2)
    axes.set_ylabel("best learning rate")
    size_axis(axes, size, best[size])
    for row, points in lines_of(best):
        drift = pick(table, "drift", series=row["series"])
        label = stack(_short_name(row), fitted_number(drift, "drift", "drift"))
        mark = mark_of(row)
        draw_measured_and_fit(axes, points[~points["at_edge"]], size, mark)
        edge = points[points["at_edge"]]
        draw_line(axes, edge, size, replace(mark, filled=False), join=False)
        end_label(axes, *_last_point(points, size), label, mark.colour)
    add_note(axes, "hollow: optimum at the edge of the grid" if best["at_edge"].any() else "")
    _rate_ticks(axes)


def _rate_ticks(axes: Axes) -> None:
    """Whole powers of two that lie in view."""
    low, high = np.log2(axes.get_ylim())
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    stride = max(1, int(np.ceil(len(powers) / 6)))
    ticks = [2.0**power for power in powers[::stride]]
    fix_ticks(axes, "y", ticks, [power_of_two(tick) for tick in ticks])


def _regret_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    """Loss at the smallest network's best rate over the own best; triangles where it diverges."""
    log_y(axes, "loss / best loss")
    size_axis(axes, size, table[size])
    for place, (row, points) in enumerate(lines_of(table)):
        ratio = points.assign(
            **{name: points[name] + 1 for name in ("estimate", "ci_low", "ci_high")}
        )
        mark = mark_of(row)
        draw_line(axes, ratio, size, mark)
        infinite = points[np.isinf(points["estimate"])]
        edge_marks(axes, infinite[size], mark.colour, height=1 - 0.05 * place)
        end_label(axes, *_last_point(ratio, size), _short_name(row), mark.colour)
    reference_line(axes, 1.0)
    if np.isinf(table["estimate"]).any():
        low, high = axes.get_ylim()
        axes.set_ylim(low, low * (high / low) ** (1 / (0.9 - 0.05 * place)))  # room for triangles
        add_note(axes, "▲ diverges at the transferred rate")


def _last_point(points: pd.DataFrame, x: str) -> tuple[float, float]:
    """Where a line ends; infinitely high if its last value is infinite."""
    last = points.dropna(subset="estimate").sort_values(x).iloc[-1]
    return last[x], last["estimate"]


@_figure
def correction_exponent(table: pd.DataFrame) -> list[Row]:
    """The correction's exponent p: first-step change of the output, and transfer (claim C11)."""
    names = ("first_step_output_change", "first_step_output_change_slope")
    change = table[table["quantity"].isin(names)]
    drift = pick(table, "drift")
    panels = [
        Panel("change of the output in the first step", change, _first_change_panel),
        Panel("drift of the best learning rate", drift, _drift_panel),
    ]
    return [*_transfer(table, "depth"), Row(panels, height=2.0)]


def _first_change_panel(axes: Axes, table: pd.DataFrame) -> None:
    def label(row: pd.Series) -> str:
        slope = pick(table, "first_step_output_change_slope", series=row["series"])
        return stack(
            _short_name(row), fitted_number(slope, "first_step_output_change_slope", "slope")
        )

    change = pick(table, "first_step_output_change")
    sizes_panel(axes, change, "output change (rms)", "depth", labels=label)


def _drift_panel(axes: Axes, table: pd.DataFrame) -> None:
    linear_y(axes, "log₂ rate per log₂ depth")
    for row, points in lines_of(table):
        draw_line(axes, points, "correction", mark_of(row))
    exponents = np.sort(table["correction"].unique())
    fix_ticks(axes, "x", exponents, [exponent_text(value) for value in exponents])
    axes.set_xlabel("exponent p of the correction")
    axes.margins(x=0.15)
    reference_line(axes, 0.0)


@_figure
def internal_collapse(table: pd.DataFrame) -> list[Row]:
    """Own, inherited and caused change of both internal layers over depth (claims C9, C11)."""
    kinds = {"own": "own change", "inherited": "inherited change", "stream": "change of the stream"}
    layers = {1: "W₁", 2: "W₂"}
    measured = table[table["quantity"].str.contains("_change")]
    last = measured["step"].max()
    final = table[table["step"] == last]
    rows = []
    for layer, name in layers.items():
        panels = []
        for kind, title in kinds.items():
            changes = usable(pick(final, f"{kind}_change_{layer}"))
            draw = partial(sizes_panel, label="rms change", x="depth")
            panels.append(Panel(f"{name}: {title}", changes, draw))
        rows.append(Row(panels, line_entries(measured) if layer == 1 else []))
    output = usable(pick(table, "output_change"))
    first = output["step"].min()
    slopes = {
        f"{kind}_change_{layer}_slope": f"{name} {kind}"
        for layer, name in layers.items()
        for kind in kinds
    } | {"output_change_slope": "output"}
    draw = partial(sizes_panel, label="rms change", x="depth")
    panels = [Panel("output, first step", output[output["step"] == first], draw)]
    if last > first:
        panels.append(Panel("output, last step", output[output["step"] == last], draw))
    rows.append(Row(panels))
    title = "slopes in log depth (filled: last step, hollow: first step)"
    dots = _dots(title, table, "slope", slopes, (-0.5, 0.0, 0.5))
    return [*rows, Row([dots], height=3.0)]


@_figure
def deeper_is_better(table: pd.DataFrame) -> list[Row]:
    """Best loss over depth, and the advantage over depth_mup (claim C12)."""
    train = pick_measured(table, "best_train_loss")
    test = pick_measured(table, "best_test_loss")
    advantage = table[table["quantity"].isin(("advantage", "advantage_mean"))]
    gain = table[table["quantity"].str.startswith("train_loss_gain_depth")]
    loss = partial(sizes_panel, x="depth", labels=name_of)
    return [
        Row(
            [
                Panel("best training loss", train, partial(loss, label="training loss")),
                Panel("test loss at the same rate", test, partial(loss, label="test loss")),
            ]
        ),
        Row(
            [
                Panel(
                    "advantage over Depth-μP",
                    advantage,
                    partial(_gains_panel, label="log ratio of losses", quantity="advantage"),
                ),
                Panel(
                    "loss removed by doubling the depth",
                    gain,
                    partial(
                        _gains_panel, label="fraction removed", quantity="train_loss_gain_depth"
                    ),
                ),
            ]
        ),
    ]


def _gains_panel(axes: Axes, table: pd.DataFrame, label: str, quantity: str) -> None:
    def name(row: pd.Series) -> str:
        mine = pick(table, f"{quantity}_mean", series=row["series"])
        return stack(name_of(row), fitted_number(mine, f"{quantity}_mean", "mean"))

    sizes_panel(axes, pick(table, quantity), label, "depth", log=False, labels=name)
    reference_line(axes, 0.0)
