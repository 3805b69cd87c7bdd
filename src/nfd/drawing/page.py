"""A page: rows of panels with their legends and letters, and the foot that says what made it."""

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from string import ascii_lowercase

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from nfd.drawing.axes import fix_ticks, log_ticks, thin_ticks, tick_text
from nfd.drawing.labels import place_labels, spread_labels
from nfd.drawing.lines import REFERENCE, entry
from nfd.drawing.names import (
    NOT_MEASURED,
    OPTIMIZER_NAMES,
    PARAMETRIZATION_NAMES,
    diverged_note,
    present,
)
from nfd.drawing.style import FAINT, STYLE
from nfd.evidence.intervals import LEVEL
from nfd.evidence.table import usable
from nfd.files import atomic_path
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.roles import hidden_symbols
from nfd.training.optimizers import OPTIMIZERS

WIDTH = 7.0  # inches: two columns of a journal
FORMATS = ("pdf", "png", "svg")
DPI = 200


@dataclass(frozen=True)
class Context:
    """What made the figure: data set, preset, digest of the configuration; level of its intervals."""

    dataset: str = "unknown data"
    preset: str = "unknown"
    digest: str = "unknown"
    level: float = LEVEL


Draw = Callable[[Axes, pd.DataFrame], None]


@dataclass(frozen=True)
class Panel:
    """``draw(axes, table)``; a panel whose table holds no value says ``absent`` instead."""

    title: str
    table: pd.DataFrame
    draw: Draw
    absent: str = NOT_MEASURED


@dataclass(frozen=True)
class Row:
    """Panels side by side under one legend; ``height`` in inches includes ticks and labels."""

    panels: list[Panel]
    legend: list[Line2D] = field(default_factory=list)
    height: float = 1.85
    share_y: bool = False


def draw(
    rows_of: Callable[[pd.DataFrame], list[Row]], evidence: pd.DataFrame, context: Context
) -> Figure:
    """The page of a figure, from its function (evidence to rows of panels) and its evidence."""
    with rc_context(dict(STYLE)):
        return make_page(rows_of(evidence), evidence, context)


def make_page(rows: list[Row], table: pd.DataFrame, context: Context) -> Figure:
    """Lay out rows of panels, letter them, and write at the foot what made the figure."""
    rows = [row for row in rows if any(_has_values(panel) for panel in row.panels)]
    foot = _foot(table, context)
    legends = [_legend_lines(row.legend) for row in rows]
    heights = [row.height + 0.17 * lines for row, lines in zip(rows, legends, strict=True)]
    heights = (heights or [1.2]) + [0.09 + 0.115 * len(foot)]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    bands = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    letters = chain(ascii_lowercase, map("".join, product(ascii_lowercase, repeat=2)))
    for band, row in zip(bands, rows, strict=False):
        _fill(band, row, letters)
    if not rows:
        bands[0].text(0.5, 0.5, f"nothing to show: {NOT_MEASURED}", color=FAINT, ha="center")
    bands[-1].text(
        0.008, 0.97, "\n".join(foot), fontsize=5.8, color=FAINT, va="top", linespacing=1.25
    )
    figure.set_label(" ".join(foot))
    settle(figure)
    return figure


def _legend_lines(keys: list[Line2D]) -> int:
    """How many lines a legend takes; an entry's line and gaps are about seven characters wide."""
    return -(-sum(len(str(key.get_label())) + 7 for key in keys) // 118)


def _legend(band: FigureBase, keys: list[Line2D]) -> None:
    """A legend above the panels, filled line by line (matplotlib fills column by column)."""
    lines = _legend_lines(keys)
    columns = -(-len(keys) // lines)
    filled = keys + [entry("") for _ in range(lines * columns - len(keys))]
    ordered = [
        filled[line * columns + column] for column in range(columns) for line in range(lines)
    ]
    band.legend(handles=ordered, loc="outside upper center", ncols=columns, borderaxespad=0.2)


def _fill(band: FigureBase, row: Row, letters: Iterator[str]) -> None:
    panels = row.panels
    grid = band.subplots(1, len(panels), squeeze=False, sharey=row.share_y)[0]
    for place, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
        axes.set_title(panel.title, loc="left")
        _letter(axes, next(letters), crowded=row.share_y and place > 0)
        if not _has_values(panel):
            _say_why_empty(axes, panel)
            continue
        panel.draw(axes, panel.table)
        if not _shows_something(axes):
            _say_why_empty(axes, panel)
        if row.share_y and place:
            axes.set_ylabel("")
    if row.legend:
        _legend(band, row.legend)


def _letter(axes: Axes, letter: str, *, crowded: bool) -> None:
    axes.annotate(
        letter,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-4 if crowded else -14, 5),
        textcoords="offset points",
        ha="right",
        va="baseline",
        fontsize=9,
        fontweight="bold",
    )


def _has_values(panel: Panel) -> bool:
    return bool(panel.table["estimate"].notna().any())


def _shows_something(axes: Axes) -> bool:
    lines = [line for line in axes.lines if line.get_gid() != REFERENCE]
    return bool(lines or axes.collections)


def _say_why_empty(axes: Axes, panel: Panel) -> None:
    axes.set_axis_off()
    lost = len(panel.table) > 0 and not _has_values(panel)
    reason = "no usable value" if lost else panel.absent
    axes.text(0.5, 0.5, reason, color=FAINT, ha="center", transform=axes.transAxes)


def _foot(table: pd.DataFrame, context: Context) -> list[str]:
    """Which settings made this figure, and the exponents behind the names."""
    used = usable(table[table["source"].isin(("network", "limit"))])
    seeds = used.loc[used["quantity"] != "diverged_runs", "seeds"].dropna()
    made = [context.dataset, f"preset {context.preset}", f"configuration {context.digest}"]
    if len(seeds):
        low, high = int(seeds.min()), int(seeds.max())
        many = f"{low} to {high} seeds" if low != high else f"{low} seed{'s' * (low != 1)}"
        intervals = f"bars and bands: {100 * context.level:.3g} % intervals over seeds"
        bars = intervals if high > 1 else "no intervals"
        made += [many, bars]
    lost = diverged_note(table, "")
    made += [lost] if lost else []
    names = present(PARAMETRIZATION_NAMES, table.loc[table["optimizer"] != "", "parametrization"])
    texts = [_exponents(name, table[table["parametrization"] == name]) for name in names]
    legend = "n width, L depth, T horizon; learning rates are multiplied by"
    lines = [" · ".join(made)]
    if texts:
        lines += textwrap.wrap(f"{legend}: " + "; ".join(texts), 150)
    return lines


def _exponents(name: str, rows: pd.DataFrame) -> str:
    """Branch multiplier and learning-rate factors of one parametrization, for what is drawn."""
    row = PARAMETRIZATIONS[name]
    optimizers = [OPTIMIZERS[name] for name in present(OPTIMIZER_NAMES, rows["optimizer"])]
    two_layers = (rows["block_layers"] == 2).any()
    rates = {
        label: " | ".join(str(getattr(row.cells[role], kind.column)) for kind in optimizers)
        for role, label in hidden_symbols(2 if two_layers else 1).items()
    }
    if len(set(rates.values())) == 1:
        rates = {" and ".join(rates): next(iter(rates.values()))}
    factors = ", ".join(f"{label} by {rate}" for label, rate in rates.items())
    unit = "/".join(kind.printed_name for kind in optimizers)
    return f"{row.long_name} (branch {row.branch}): {factors} ({unit})"


def settle(figure: Figure) -> None:
    """Final ticks and labels: they depend on where everything has come to lie."""
    every = _all_axes(figure)
    for axes in every:
        for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            fixed = isinstance(axis.get_major_locator(), FixedLocator)
            if axes.axison and axis.get_scale() == "log" and not fixed:
                ticks = log_ticks(*axis.get_view_interval())
                fix_ticks(axes, which, ticks, [tick_text(tick) for tick in ticks])
    for axes in every:
        place_labels(axes)
    layout = figure.get_layout_engine()
    assert layout is not None  # make_page asks for a constrained layout
    for _ in range(2):  # the second time for margins that the first has changed
        layout.execute(figure)
        for axes in every:
            thin_ticks(axes)
            spread_labels(axes)
    figure.set_layout_engine("none")
    _align(figure)
    for axes in every:
        thin_ticks(axes)


def _align(figure: Figure) -> None:
    """Give panels below one another the same left and right edge, in rows of equally many panels."""
    alike: dict[int, list[list[Axes]]] = {}
    for band in figure.subfigs:
        alike.setdefault(len(band.axes), []).append(band.axes)
    for rows in alike.values():
        for column in zip(*rows, strict=True):
            left = max(axes.get_position().x0 for axes in column)
            right = min(axes.get_position().x1 for axes in column)
            for axes in column:
                place = axes.get_position()
                axes.set_position([left, place.y0, right - left, place.height])


def _all_axes(figure: FigureBase) -> list[Axes]:
    return [axes for band in figure.subfigs for axes in band.axes]


def save_as(figure: Figure, path: str | Path) -> None:
    """Write one file, in the format that its suffix names. Raises ValueError for any but FORMATS.

    The same figure gives the same bytes: no dates are written. What made the figure stands in the file's
    metadata.
    """
    path = Path(path)
    about = figure.get_label()
    metadata = {
        ".pdf": {"CreationDate": None, "Subject": about},
        ".png": {"Description": about},
        ".svg": {"Date": None, "Description": about},
    }
    if path.suffix not in metadata:
        raise ValueError(f"{path}: figures are written as {', '.join(FORMATS)}")
    with rc_context(dict(STYLE)), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, metadata=metadata[path.suffix])
