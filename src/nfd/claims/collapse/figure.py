"""Two-layer blocks, drawn (claims C9, C11, C12)."""

from dataclasses import replace
from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from nfd.drawing.axes import fix_ticks, linear_y
from nfd.drawing.lines import draw_closed_form, draw_line, entry, line_entries, reference_line
from nfd.drawing.names import (
    NOT_FITTED,
    exponent_text,
    fitted_number,
    lines_of,
    name_of,
    short_name,
    stack,
)
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import dots, sizes_panel
from nfd.drawing.rates import read_axis, transfer_rows
from nfd.drawing.style import Mark, mark_of
from nfd.evidence.table import pick, pick_measured, usable


def internal_collapse(table: pd.DataFrame) -> list[Row]:
    """Own, inherited and caused change of both internal layers over depth (claims C9, C11)."""
    kinds = {
        "own": "own change",
        "inherited": "inherited",
        "total": "own and inherited",
        "stream": "in the stream",
    }
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
    steps = {first: "first", last: "last"}
    rows.append(
        Row(
            [
                _gradient_panel(
                    table[table["step"] == step], layer, f"{name}: gradient, {when} step"
                )
                for layer, name in layers.items()
                for step, when in steps.items()
            ]
        )
    )
    slopes = {
        f"{kind}_change_{layer}_slope": f"{name} {kind}"
        for layer, name in layers.items()
        for kind in (*kinds, "gradient")
    } | {"output_change_slope": "output"}
    draw = partial(sizes_panel, label="rms change", x="depth")
    panels = [Panel("output, first step", output[output["step"] == first], draw)]
    if last > first:
        panels.append(Panel("output, last step", output[output["step"] == last], draw))
    rows.append(Row(panels))
    title = "slopes in log depth (filled: last step, hollow: first step)"
    exponents = dots(title, table, "slope", slopes, (-0.5, 0.0, 0.5))
    return [*rows, Row([exponents], height=4.0)]


def _gradient_panel(table: pd.DataFrame, layer: int, title: str) -> Panel:
    """Change of the gradient's stream by a layer, with the closed form of W1's first step."""
    mine = usable(pick(table, f"gradient_change_{layer}"))

    def draw(axes: Axes, shown: pd.DataFrame) -> None:
        sizes_panel(axes, shown[shown["source"] != "closed_form"], "change / rms g_L", "depth")
        for _, points in shown[shown["source"] == "closed_form"].groupby("series"):
            draw_closed_form(axes, points, "depth")

    return Panel(title, mine, draw)


def correction_exponent(table: pd.DataFrame) -> list[Row]:
    """The correction's exponent p: first-step change of the output, and transfer (claim C11)."""
    names = ("first_step_output_change", "first_step_output_change_slope")
    change = table[table["quantity"].isin(names)]
    drift = pick(table, "drift")
    drift = drift[drift["step"] == drift["step"].max()]
    panels = [
        Panel("change of the output in the first step", change, _first_change_panel),
        Panel("drift of the best learning rate", drift, _drift_panel, NOT_FITTED),
    ]
    return [*transfer_rows(table, "depth"), Row(panels, height=2.0)]


def _first_change_panel(axes: Axes, table: pd.DataFrame) -> None:
    def label(row: pd.Series) -> str:
        slope = pick(table, "first_step_output_change_slope", series=row["series"])
        return stack(
            short_name(row), fitted_number(slope, "first_step_output_change_slope", "slope")
        )

    change = pick(table, "first_step_output_change")
    sizes_panel(axes, change, "output change (rms)", "depth", labels=label)


def _drift_panel(axes: Axes, table: pd.DataFrame) -> None:
    linear_y(axes, "log₂ rate per log₂ depth")
    for row, points in lines_of(table):
        draw_line(axes, points, "correction", mark_of(row))
    exponents = sorted(table["correction"].unique())
    fix_ticks(axes, "x", exponents, [exponent_text(value) for value in exponents])
    axes.set_xlabel("exponent p of the correction")
    axes.margins(x=0.15)
    reference_line(axes, 0.0)


def deeper_is_better(table: pd.DataFrame) -> list[Row]:
    """Best loss over depth, and the advantage over depth_mup (claim C12)."""
    train = pick_measured(table, "best_train_loss")
    test = pick_measured(table, "best_test_loss")
    last = table[table["step"] == table["step"].max()]
    loss = partial(sizes_panel, x="depth", labels=name_of)
    advantages = {"advantage": "training loss", "advantage_test": "test loss"}
    gains = {"train_loss_gain_depth": "training loss", "test_loss_gain_depth": "test loss"}
    return [
        Row(
            [
                Panel("best training loss", train, partial(loss, label="training loss")),
                Panel("test loss at the same rate", test, partial(loss, label="test loss")),
            ]
        ),
        Row(
            [
                _gains(f"advantage over Depth-μP, {name}", last, quantity, "log ratio of losses")
                for quantity, name in advantages.items()
            ]
        ),
        Row(
            [
                _gains(f"{name} removed by doubling the depth", last, quantity, "fraction removed")
                for quantity, name in gains.items()
            ]
        ),
        _training_row(table),
    ]


def _gains(title: str, table: pd.DataFrame, quantity: str, label: str) -> Panel:
    rows = table[table["quantity"].isin((quantity, f"{quantity}_mean"))]
    return Panel(title, rows, partial(_gains_panel, label=label, quantity=quantity))


def _training_row(table: pd.DataFrame) -> Row:
    """Advantages at the largest depth against the length of training, and test accuracies."""
    names = ("advantage", "advantage_test")
    earlier = table[table["quantity"].isin(names)]
    earlier = earlier[earlier["depth"] == earlier["depth"].max()]
    accuracy = pick(table, "advantage_accuracy")
    accuracy = accuracy[accuracy["step"] == accuracy["step"].max()]
    gained = pick(table, "accuracy_gain_depth_mean")
    gain = {"accuracy_gain_depth_mean": "a doubling of depth"}
    return Row(
        [
            Panel("advantage at the largest depth", earlier, _advantage_over_steps),
            Panel("test accuracy beyond Depth-μP's", accuracy, _accuracy_panel),
            dots("test accuracy gained", gained, "test accuracy", gain, (0.0,)),
        ],
        [
            *line_entries(earlier),
            entry("training loss", Mark(), line=False),
            entry("test loss", Mark(filled=False), line=False),
        ],
    )


def _advantage_over_steps(axes: Axes, table: pd.DataFrame) -> None:
    linear_y(axes, "log ratio of losses")
    places = read_axis(axes, table["step"])
    for row, points in lines_of(table):
        points = points.assign(place=points["step"].map(places))
        for quantity, filled in (("advantage", True), ("advantage_test", False)):
            mark = replace(mark_of(row), filled=filled)
            draw_line(axes, pick(points, quantity), "place", mark)
    reference_line(axes, 0.0)


def _accuracy_panel(axes: Axes, table: pd.DataFrame) -> None:
    sizes_panel(axes, table, "test accuracy", "depth", log=False)
    reference_line(axes, 0.0)


def _gains_panel(axes: Axes, table: pd.DataFrame, label: str, quantity: str) -> None:
    def name(row: pd.Series) -> str:
        mine = pick(table, f"{quantity}_mean", series=row["series"])
        return stack(name_of(row), fitted_number(mine, f"{quantity}_mean", "mean"))

    sizes_panel(axes, pick(table, quantity), label, "depth", log=False, labels=name)
    reference_line(axes, 0.0)
