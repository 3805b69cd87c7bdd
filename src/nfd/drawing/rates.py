"""Loss against learning rate, best rate, regret and stability: what figures of transfer share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nfd.drawing.axes import fix_ticks, linear_y, log_y, power_of_two, size_axis
from nfd.drawing.labels import end_label
from nfd.drawing.lines import (
    draw_line,
    draw_measured_and_fit,
    edge_marks,
    entry,
    line_entries,
    ramp_entries,
    reference_line,
)
from nfd.drawing.names import (
    AXIS_LABELS,
    NOT_FITTED,
    OPTIMIZER_NAMES,
    decimals,
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
from nfd.drawing.style import FAINT, INK, Mark, mark_of, ramp_of
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
    keys.append(entry("best rate", Mark(INK, filled=False), line=False))
    if len(pick(table, "diverged_runs")):
        keys.append(entry("some runs diverge", Mark(FAINT, filled=False), line=False))
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
    """Final training loss against learning rate; rings at the best rates, hollow where some runs diverge."""
    losses, lost = pick(table, "final_train_loss"), pick(table, "diverged_runs")
    log_y(axes, "final training loss")
    size_axis(axes, "learning_rate", losses["learning_rate"])
    for value, points in losses.groupby(size):
        mark = Mark(ramp[value], marker="o")
        draw_line(axes, points, "learning_rate", mark)
        unstable = lost.loc[lost[size] == value, "learning_rate"]
        hollow = points[points["learning_rate"].isin(unstable)]
        draw_line(axes, hollow, "learning_rate", replace(mark, filled=False), join=False)
        best = usable(pick(table, "best_train_loss", **{size: value}))
        axes.plot(
            best["learning_rate"], best["estimate"], "o", color=INK, markersize=6,
            markerfacecolor="none", zorder=5,
        )  # fmt: skip
    add_note(axes, diverged_note(table, ""))


def _transfer_summaries(table: pd.DataFrame, suffix: str, size: str) -> list[Row]:
    """Best rate and regret over the size; below, both against steps, and stability. Controls come apart."""
    control = table.apply(is_control, axis=1) | ~table["coupling"].isin(["standard", ""])
    groups = [(table[~control], suffix)]
    if control.any():
        corrected = table.apply(has_exponent, axis=1)
        groups.append((table[control | corrected], f"{suffix}, controls"))
    rows = []
    for part, title in groups:
        regret = pick(part, "regret").dropna(subset="estimate")
        last = regret[regret["step"] == regret["step"].max()]
        panels = [
            Panel(
                f"best learning rate{title}",
                _best_rates(part),
                partial(_best_rate_panel, size=size),
            ),
            Panel(
                f"regret of transferring{title}",
                last,
                partial(_regret_panel, size=size),
                "no usable optimum",
            ),
        ]
        rows += [Row(panels, height=2.0), _training_row(part, regret, size)]
    return rows


def _training_row(table: pd.DataFrame, regret: pd.DataFrame, size: str) -> Row:
    """What the length of training changes, and where training is stable."""
    drift = table[table["quantity"].isin(("drift", "drift_at_loss"))]
    largest = regret.sort_values(size).groupby(["series", "step"]).tail(1)
    stable = table[table["quantity"].isin(("stable_rate", "stable_rate_drift"))]
    stable = stable if len(pick(stable, "stable_rate")) else stable.iloc[:0]
    share = pick(table, "diverged_share")
    none = "no edge of stability in the grid"
    panels = [
        Panel("drift by step", drift, _drift_over_steps, NOT_FITTED),
        Panel("regret by step", largest, _regret_over_steps, "no usable optimum"),
        Panel("largest stable rate", stable, partial(_stable_panel, size=size), none),
        Panel("share diverged", share, partial(_share_panel, size=size), none),
    ]
    return Row(panels, line_entries(drift if len(drift) else share), height=1.7)


def _best_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Best rates and drifts; optima that are not used are put where they seem to be, flagged ``unused``."""
    names = ("best_learning_rate", "unresolved_learning_rate", "drift")
    rows = table[table["quantity"].isin(names)]
    rows = rows[(rows["quantity"] != "drift") | (rows["step"] == rows["step"].max())]
    at_edge = (rows["quantity"] == "best_learning_rate") & (rows["source"] == "network")
    at_edge &= rows["estimate"].isna()
    unused = at_edge | (rows["quantity"] == "unresolved_learning_rate")
    return rows.assign(
        estimate=rows["estimate"].where(~at_edge, rows["learning_rate"]), unused=unused
    )


def _best_rate_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    """Best rates with the line fitted to them; hollow where the grid does not hold or resolve the optimum."""
    best = table[table["quantity"] != "drift"]
    axes.set_yscale("log", base=2)
    axes.set_ylabel("best learning rate")
    size_axis(axes, size, best[size])
    for row, points in lines_of(best):
        drift = pick(table, "drift", series=row["series"])
        label = stack(short_name(row), fitted_number(drift, "drift", "drift"))
        mark = mark_of(row)
        draw_measured_and_fit(axes, points[~points["unused"]], size, mark)
        unused = points[points["unused"]]
        draw_line(axes, unused, size, replace(mark, filled=False), join=False)
        end_label(axes, *_last_point(points, size), label, mark.colour)
    note = "hollow: the grid does not hold or resolve the optimum"
    add_note(axes, note if best["unused"].any() else "")
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
        ratio = _draw_ratio(axes, points, size, row, place)
        end_label(axes, *_last_point(ratio, size), short_name(row), mark_of(row).colour)
    reference_line(axes, 1.0)
    if np.isinf(table["estimate"]).any():
        low, high = axes.get_ylim()
        axes.set_ylim(low, low * (high / low) ** (1 / (0.9 - 0.05 * place)))  # room for triangles
        add_note(axes, "▲ diverges at the transferred rate")


def _draw_ratio(
    axes: Axes, points: pd.DataFrame, x: str, row: pd.Series, place: int
) -> pd.DataFrame:
    """Regrets as ratios of losses; triangles, one line below the other, where they are infinite."""
    ratio = points.assign(**{name: points[name] + 1 for name in ("estimate", "ci_low", "ci_high")})
    mark = mark_of(row)
    draw_line(axes, ratio, x, mark)
    infinite = points[np.isinf(points["estimate"])]
    edge_marks(axes, infinite[x], mark.colour, height=1 - 0.05 * place)
    return ratio


def _drift_over_steps(axes: Axes, table: pd.DataFrame) -> None:
    """Drifts at the steps read, and of the rate that reaches a fixed loss first."""
    linear_y(axes, "drift")
    at_steps, at_loss = pick(table, "drift"), pick(table, "drift_at_loss")
    steps = read_axis(axes, at_steps["step"], ["equal\nloss"] if len(at_loss) else [])
    for row, points in lines_of(table):
        mark = mark_of(row)
        mine = pick(points, "drift")
        draw_line(axes, mine.assign(place=mine["step"].map(steps)), "place", mark)
        equal = pick(points, "drift_at_loss").assign(place=float(len(steps)))
        draw_line(axes, equal, "place", replace(mark, marker="D", filled=False), join=False)
    reference_line(axes, 0.0)


def _regret_over_steps(axes: Axes, table: pd.DataFrame) -> None:
    """Regrets at the largest size at the steps read; triangles where it diverges."""
    log_y(axes, "loss / best loss")
    steps = read_axis(axes, table["step"])
    for place, (row, points) in enumerate(lines_of(table)):
        _draw_ratio(axes, points.assign(place=points["step"].map(steps)), "place", row, place)
    reference_line(axes, 1.0)


def read_axis(axes: Axes, values: pd.Series, more: Sequence[str] = ()) -> Mapping[float, float]:
    """An axis with one place per step that was read; the place of each."""
    steps = sorted(values.dropna().unique())
    texts = [f"{step:g}" for step in steps] + list(more)
    fix_ticks(axes, "x", list(range(len(texts))), texts)
    axes.set_xlim(-0.4, len(texts) - 0.6)
    axes.set_xlabel(AXIS_LABELS["step"])
    return {step: float(place) for place, step in enumerate(steps)}


def _stable_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    """Largest stable rates over size, where the grid holds them."""
    rates, drifts = pick(table, "stable_rate"), pick(table, "stable_rate_drift")
    axes.set_yscale("log", base=2)
    axes.set_ylabel("learning rate")
    size_axis(axes, size, rates[size])
    for row, points in lines_of(rates):
        mark = mark_of(row)
        draw_line(axes, points, size, mark)
        drift = usable(pick(drifts, "stable_rate_drift", series=row["series"]))
        if len(drift) and usable(points).shape[0]:
            end_label(
                axes, *_last_point(points, size), decimals(drift.iloc[0]["estimate"]), mark.colour
            )
    _rate_ticks(axes)


def _share_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    """Share of runs that diverge at the smallest network's best rate."""
    linear_y(axes, "share of runs")
    size_axis(axes, size, table[size])
    for row, points in lines_of(table):
        draw_line(axes, points, size, mark_of(row))
    axes.set_ylim(-0.05, 1.05)


def _last_point(points: pd.DataFrame, x: str) -> tuple[float, float]:
    """Where a line ends; infinitely high if its last value is infinite."""
    last = points.dropna(subset="estimate").sort_values(x).iloc[-1]
    return last[x], last["estimate"]
