"""Standard against decoupled training, drawn (claim C4)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nfd.claims.rules import AGREEMENT
from nfd.drawing.axes import fix_ticks, log_y, size_axis, step_axis
from nfd.drawing.labels import end_label
from nfd.drawing.lines import (
    coupling_entries,
    draw_closed_form,
    draw_line,
    draw_measured_and_fit,
    entry,
    line_entries,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import (
    COUPLING_NAMES,
    diverged_note,
    fitted_number,
    lines_of,
    name_of,
    order_of,
    stack,
)
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import noted, sizes_panel, steps_panel
from nfd.drawing.style import COLOURS, DASHES, FAINT, INK, Dash, Mark, Ramp, mark_of, ramp_of, tint
from nfd.evidence.table import DEFAULT_TRAINABLE, pick, pick_measured

AT_PROGRESS = r"gap_square_at_(\d+)"
GAP_LABEL = "(output gap / change)²"


def gia_restoration(table: pd.DataFrame) -> list[Row]:
    """Standard against decoupled training over depth (claim C4)."""
    losses = {name: pick_measured(table, f"{name}_loss") for name in ("train", "test")}
    ramp = ramp_of(losses["train"], "depth")
    gaps = _named(table, "gap_square")
    first, last = _first_and_last(gaps[gaps["source"] == "network"])
    at_last = gaps["step"] == last if last > first else gaps["step"] != gaps["step"]
    single = _named(table, "single_gap_square", step=last)
    late = pd.concat([gaps[at_last], single[single["series"] == "depth_mup"]])
    plain = pick(table, "gap_square")
    plain = plain[plain["series"].isin(("depth_mup", "depth_mup, fresh copies"))]
    plain = plain[plain["source"] == "network"]
    progress = table[table["quantity"].str.fullmatch(AT_PROGRESS)]
    progress = progress[progress["series"].isin(plain["series"])]
    return [
        *_loss_rows(table, losses, ramp),
        Row(
            [
                Panel("Depth-μP: gap over steps", plain, partial(_over_steps, ramp=ramp)),
                Panel("the same over progress", progress, partial(_over_progress, ramp=ramp)),
            ],
            [
                entry(f"against {COUPLING_NAMES[name]}", Mark(INK, DASHES[name]), marker=False)
                for name in ("decoupled", "fresh")
            ],
            height=2.1,
        ),
        Row(
            [
                Panel("gap after the first step", gaps[gaps["step"] == first], _gap_panel),
                Panel("gap at half progress", _named(table, "gap_square_at_50"), _gap_panel),
            ],
            _gap_entries(gaps),
            height=2.2,
        ),
        Row(
            [
                Panel("gap after the last step (pale: single runs)", late, _gap_panel),
                Panel(
                    "loss gap after the last step",
                    _named(table, "loss_gap", step=last),
                    _loss_gap_panel,
                ),
            ],
            height=2.2,
        ),
    ]


def _named(table: pd.DataFrame, quantity: str, **wanted: object) -> pd.DataFrame:
    """Rows of a quantity and of its plateaus."""
    return pd.concat([pick(table, name, **wanted) for name in (quantity, f"{quantity}_plateau")])


def _first_and_last(rows: pd.DataFrame) -> tuple[float, float]:
    """The first step after initialisation and the last, among the rows."""
    return rows["step"].min(), rows["step"].max()


def _loss_rows(
    table: pd.DataFrame, losses: Mapping[str, pd.DataFrame], ramp: Ramp
) -> Iterator[Row]:
    """Training and test loss, one panel per kind of network that is trained whole: the paper's own figure."""
    legend = [*ramp_entries(ramp, "depth"), *coupling_entries(losses["train"])]
    for split, rows in losses.items():
        whole = rows[rows["trainable"] == rows["block_layers"].map(DEFAULT_TRAINABLE)]
        kinds = [part for _, part in whole.groupby(["parametrization", "skip", "correction"])]
        panels = []
        for part in sorted(kinds, key=lambda part: order_of(part.iloc[0]))[:3]:
            kind = part.iloc[0]
            columns = ("parametrization", "skip", "trainable")
            lost = pick(table, "diverged_runs", **{name: kind[name] for name in columns})
            curves = partial(steps_panel, label=f"{split} loss", size="depth", ramp=ramp)
            draw = partial(noted, diverged_note(lost), curves)
            panels.append(Panel(name_of(kind, coupling=False), part, draw))
        yield Row(panels, legend if split == "train" else [], share_y=True)


def _compared(row: pd.Series) -> Dash:
    """The dash of the training that a row compares with the standard one."""
    return DASHES[row["coupling"] or "decoupled"]


def _by_depth(axes: Axes, table: pd.DataFrame, x: str, ramp: Ramp) -> None:
    log_y(axes, GAP_LABEL)
    networks = table[table["source"] == "network"]
    for (_, depth), points in networks.groupby(["series", "depth"]):
        mark = Mark(ramp.get(depth, INK), _compared(points.iloc[0]))
        draw_line(axes, points, x, mark, band=True)
    reference_line(axes, AGREEMENT**2)


def _over_steps(axes: Axes, table: pd.DataFrame, ramp: Ramp) -> None:
    _by_depth(axes, table, "step", ramp)
    size_axis(axes, "step", table.loc[table["source"] == "network", "step"])


def _over_progress(axes: Axes, table: pd.DataFrame, ramp: Ramp) -> None:
    percent = table["quantity"].str.extract(AT_PROGRESS)[0].astype(float)
    _by_depth(axes, table.assign(percent=percent), "percent", ramp)
    values = sorted(percent.unique())
    fix_ticks(axes, "x", values, [f"{value:g} %" for value in values])
    axes.set_xlabel("share of the fall of the training loss")


def _gap_entries(gaps: pd.DataFrame) -> list[Line2D]:
    networks = gaps[gaps["source"] == "network"]
    keys = line_entries(networks)
    if (gaps["source"] == "fit").any():
        keys.append(entry("fit c + b / L", Mark(), marker=False))
    if (gaps["source"] == "closed_form").any():
        keys.append(entry("exact, η → 0: one sample", Mark("black", "--"), marker=False))
        keys.append(entry("exact, η → 0: this batch", Mark(INK, ":"), marker=False))
    keys.append(entry("threshold", Mark(FAINT, ":"), marker=False))
    return keys


def _gap_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Squared gaps over depth with their fits, and the exact ones."""
    log_y(axes, GAP_LABEL)
    networks = table[table["source"] == "network"]
    size_axis(axes, "depth", networks["depth"])
    measured = table[table["source"] != "closed_form"]
    single = measured["quantity"].str.startswith("single")
    for rows, strength in ((measured[~single], 1.0), (measured[single], 0.4)):
        for row, points in lines_of(rows):
            plateau = f"{row['quantity'].removesuffix('_plateau')}_plateau"
            label = fitted_number(points, plateau, "c =", digits=3)
            mine, mark = points[points["quantity"] != plateau], _mark(row)
            mark = replace(mark, colour=tint(mark.colour, strength))
            draw_measured_and_fit(axes, mine, "depth", mark, label=label)
    for series, points in table[table["source"] == "closed_form"].groupby("series"):
        if series == "one sample":
            draw_closed_form(axes, points, "depth", series)
        else:
            points = points.sort_values("depth")
            colour = _mark(points.iloc[0]).colour
            axes.plot(points["depth"], points["estimate"], color=colour, linestyle=":")
    reference_line(axes, AGREEMENT**2)


def _mark(row: pd.Series) -> Mark:
    """A network's mark: hollow if only the output layer is trained."""
    whole = row["trainable"] == DEFAULT_TRAINABLE[row["block_layers"]]
    return replace(mark_of(row), dash=_compared(row), filled=bool(whole))


def _loss_gap_panel(axes: Axes, table: pd.DataFrame) -> None:
    gaps, plateaus = pick(table, "loss_gap"), pick(table, "loss_gap_plateau")

    def label(row: pd.Series) -> str:
        mine = plateaus[plateaus["series"] == row["series"]]
        return stack(name_of(row), fitted_number(mine, "loss_gap_plateau", "c ="))

    sizes_panel(axes, gaps, "loss gap / decrease", "depth", log=False, labels=label)
    reference_line(axes, 0.0)


# ------------------------------------------------------------------------------------ response by layer

LAYERS = {  # what is trained -> (printed name, colour)
    "input": ("input layer", COLOURS["depth_mup"]),
    "hidden_2": ("hidden layers", COLOURS["mup"]),
    "output": ("output layer", COLOURS["complete_p"]),
    DEFAULT_TRAINABLE[1]: ("all layers", INK),
}
ACTIVATION_COLOURS = {"relu": COLOURS["depth_mup"], "tanh": COLOURS["mup"]}
HORIZON = r"(?:one sample, )?(?P<activation>\w+), T = (?P<horizon>[\d.]+)"


def response_by_layer(table: pd.DataFrame) -> list[Row]:
    """How outputs answer a first small step, by layer, and the gap over T (claim C4)."""
    ratios = pick(table, "response_ratio")
    measured = ratios[ratios["source"] == "network"]
    first = ratios[ratios["step"] == measured["step"].min()]
    deepest = measured[measured["depth"] == measured["depth"].max()]
    gaps = pick(table, "first_gap_square")
    return [
        Row(
            [
                Panel("change by the first step", first, _ratio_panel),
                Panel("by the steps so far, deepest", deepest, _ratio_over_steps),
                Panel("squared gap of the first step", gaps, _over_horizon),
            ],
            [
                *(entry(name, Mark(colour)) for name, colour in LAYERS.values()),
                entry("closed form, this batch", Mark(INK, "--"), marker=False),
                entry("closed form, one sample", Mark(INK, ":"), marker=False),
            ],
            height=2.4,
        )
    ]


def _by_layer(table: pd.DataFrame) -> Iterator[tuple[Mark, pd.DataFrame]]:
    for trained, (_, colour) in LAYERS.items():
        points = table[table["trainable"] == trained]
        if len(points):
            yield Mark(colour), points


def _ratio_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Measured ratios over depth, and the exact ones: dashed on this batch, dotted of one sample."""
    log_y(axes, "standard / decoupled")
    networks, exact = (table[table["source"] == name] for name in ("network", "closed_form"))
    size_axis(axes, "depth", networks["depth"])
    for mark, points in _by_layer(networks):
        draw_line(axes, points, "depth", mark, join=False)
    for trained, (_, colour) in LAYERS.items():
        batch, sample = exact["trainable"] == trained, exact["series"] == f"one sample: {trained}"
        for curve, dash in ((exact[batch], "--"), (exact[sample], ":")):
            curve = curve.sort_values("depth")
            axes.plot(curve["depth"], curve["estimate"], color=colour, linestyle=dash)
    reference_line(axes, 1.0)


def _ratio_over_steps(axes: Axes, table: pd.DataFrame) -> None:
    log_y(axes, "standard / decoupled")
    for mark, points in _by_layer(table):
        draw_line(axes, points, "step", mark)
    reference_line(axes, 1.0)
    step_axis(axes)


def _over_horizon(axes: Axes, table: pd.DataFrame) -> None:
    """Points of networks over T, with the exact gap of this batch and of one sample."""
    log_y(axes, GAP_LABEL)
    found = table["series"].str.extract(HORIZON)
    table = table.assign(activation=found["activation"], T=found["horizon"].astype(float))
    axes.set_xscale("log")
    for activation, colour in ACTIVATION_COLOURS.items():
        mine = table[table["activation"] == activation].sort_values("T")
        draw_line(axes, mine[mine["source"] == "network"], "T", Mark(colour), join=False)
        exact = mine[mine["source"] == "closed_form"]
        single = exact["series"].str.startswith("one sample")
        for curve, dash in ((exact[~single], "--"), (exact[single], ":")):
            axes.plot(curve["T"], curve["estimate"], color=colour, linestyle=dash)
        if len(exact):
            end = exact[~single if (~single).any() else single].iloc[-1]
            end_label(axes, end["T"], end["estimate"], activation, colour)
    values = [0.1, 0.3, 1, 3]
    fix_ticks(axes, "x", values, [f"{value:g}" for value in values])
    axes.set_xlabel("time horizon T")
    reference_line(axes, AGREEMENT**2)
