"""Loss against learning rate, and below it best rate and regret: what figures of transfer share."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from nfd.drawing.axes import fix_ticks, log_y, power_of_two, size_axis
from nfd.drawing.labels import end_label
from nfd.drawing.lines import (
    draw_line,
    draw_measured_and_fit,
    edge_marks,
    entry,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import (
    OPTIMIZER_NAMES,
    diverged_note,
    fitted_number,
    has_exponent,
    is_control,
    lines_of,
    present,
    short_name,
    stack,
)
from nfd.drawing.page import Panel, Row
from nfd.drawing.panels import add_note
from nfd.drawing.style import INK, Mark, mark_of, ramp_of
from nfd.evidence.table import pick, usable


def transfer_rows(table: pd.DataFrame, size: str) -> list[Row]:
    """Loss against learning rate for every network; below, best rate and regret over the size."""
    table = _widest_other(table, size)
    ramp = ramp_of(pick(table, "final_train_loss"), size)
    parts = [
        (table[table["optimizer"] == name], f", {OPTIMIZER_NAMES.get(name, name)}")
        for name in present(OPTIMIZER_NAMES, table["optimizer"])
    ]
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
        panels.append(Panel(f"{short_name(row)}{suffix}", pd.concat(mine), draw))
    across = 4 if len(panels) in (4, 7, 8) or len(panels) > 9 else 3
    rows = [panels[start : start + across] for start in range(0, len(panels), across)]
    return [Row(panels, height=1.75, share_y=True) for panels in rows]


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
    control = table.apply(is_control, axis=1) | ~table["coupling"].isin(["standard", ""])
    groups = [(table[~control], suffix)]
    if control.any():
        corrected = table.apply(has_exponent, axis=1)
        groups.append((table[control | corrected], f"{suffix}, controls"))
    rows = []
    for part, title in groups:
        best, regret = _best_rates(part), pick(part, "regret").dropna(subset="estimate")
        panels = [
            Panel(f"best learning rate{title}", best, partial(_best_rate_panel, size=size)),
            Panel(
                f"regret of transferring{title}",
                regret,
                partial(_regret_panel, size=size),
                "the best rate lies at the grid's edge",
            ),
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
        label = stack(short_name(row), fitted_number(drift, "drift", "drift"))
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
        end_label(axes, *_last_point(ratio, size), short_name(row), mark.colour)
    reference_line(axes, 1.0)
    if np.isinf(table["estimate"]).any():
        low, high = axes.get_ylim()
        axes.set_ylim(low, low * (high / low) ** (1 / (0.9 - 0.05 * place)))  # room for triangles
        add_note(axes, "▲ diverges at the transferred rate")


def _last_point(points: pd.DataFrame, x: str) -> tuple[float, float]:
    """Where a line ends; infinitely high if its last value is infinite."""
    last = points.dropna(subset="estimate").sort_values(x).iloc[-1]
    return last[x], last["estimate"]
