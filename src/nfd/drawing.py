"""What all figures share: reading evidence, the visual language, drawing a line, laying out a page.

One visual language: colour is the parametrization (or, where a panel shows a single one, a ramp over
depth or width); a solid line is standard training, a dashed line decoupled training; a circle is a
network, a diamond a limit; bars and bands are 95 % intervals over seeds; closed forms are dashed black.

A figure is rows of panels (:class:`Row`, :class:`Panel`). :func:`make_page` lays them out, letters them
and writes at the foot which settings made the figure; :func:`save` writes it, the same bytes every time.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_lowercase

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from nfd.parametrization import PARAMETRIZATIONS
from nfd.pipeline.tables import atomic_path

WIDTH = 7.0  # inches: two columns of a journal
FORMATS = ("pdf", "png", "svg")
DPI = 200
# seaborn's style for papers, with what small panels need: thin lines, short ticks, little padding.
STYLE: Mapping[str, object] = {
    **seaborn.axes_style("whitegrid"),
    **seaborn.plotting_context("paper", font_scale=0.78),
    "axes.edgecolor": ".15",
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": matplotlib.cycler(color=["#333333"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    # DejaVu comes with matplotlib, so that a figure is the same on every machine.
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "legend.columnspacing": 1.2,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.handletextpad": 0.45,
    "lines.markeredgewidth": 0.8,
    "lines.markersize": 3.6,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "nfd",
    **{f"{axis}tick.labelsize": 6.5 for axis in "xy"},
    **{f"{axis}tick.major.pad": 2 for axis in "xy"},
    **{f"{axis}tick.major.size": 2.5 for axis in "xy"},
    **{f"{axis}tick.major.width": 0.6 for axis in "xy"},
    "xtick.bottom": True,
    "ytick.left": True,
}

# Colours that colour-blind readers tell apart, in the order in which lines are listed.
_BLUE, _ORANGE, _GREEN, _RED, _PINK, *_, _SKY = seaborn.color_palette("colorblind").as_hex()
COLOURS: Mapping[str, str] = {
    "depth_mup": _BLUE,
    "depth_mup_corrected": _RED,
    "complete_p": _GREEN,
    "mup": _ORANGE,
    "ntk": _PINK,
    "standard": "#6e6e6e",
}
NO_SKIP = _SKY
INK, FAINT = "#222222", "#777777"
NAMES: Mapping[str, str] = {
    "depth_mup": "Depth-μP",
    "depth_mup_corrected": "corrected",
    "complete_p": "CompleteP",
    "mup": "μP",
    "ntk": "NTK",
    "standard": "SP",
}
TRAINED: Mapping[str, tuple[str, str]] = {  # trained weights -> (text, marker)
    "hidden_1": ("only W₁ trained", "^"),
    "hidden_2": ("only W₂ trained", "v"),
    "input+hidden_2+output": ("W₁ frozen", "s"),
}
RAMPS: Mapping[str, tuple[str, float, float]] = {
    "depth": ("viridis", 0.0, 0.85),
    "width": ("YlOrBr", 0.4, 1.0),
}
AXIS_LABELS: Mapping[str, str] = {
    "depth": "depth L (blocks)",
    "width": "width n",
    "learning_rate": "learning rate η",
    "step": "training step",
}
DASHES: Mapping[str, str] = {"standard": "-", "decoupled": "--"}
LIMIT_NAMES: Mapping[str, str] = {"standard": "coupled limit", "decoupled": "NFD"}
NOT_MEASURED = "not measured in this preset"
_END_LABEL = "end label"
_REFERENCE = "reference"
_LABEL_PLACE = 1.03  # of the panel's width
TICK_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Context:
    """What made the figure: data set, preset and digest of the configuration, as text."""

    dataset: str = "unknown data"
    preset: str = "unknown"
    digest: str = "unknown"


Draw = Callable[[Axes, pd.DataFrame], None]


# ------------------------------------------------------------------------------------ reading evidence


def tidy(evidence: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers as numbers and text as text, whether it comes from CSV or memory."""
    table = evidence.reset_index(drop=True).copy()
    text = ("quantity", "series", "source", "parametrization", "trainable", "optimizer", "coupling")
    for name in text:
        table[name] = table[name].astype(object).where(table[name].notna(), "").astype(str)
    for name in ("correction", "block_layers", "width", "depth", "learning_rate", "step"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    for name in ("estimate", "ci_low", "ci_high", "seeds"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table["skip"] = table["skip"].astype(str).str.lower() != "false"
    return table


def pick(table: pd.DataFrame, quantity: str, **wanted: object) -> pd.DataFrame:
    """Rows of one quantity whose columns equal ``wanted``."""
    keep = table["quantity"] == quantity
    for column, value in wanted.items():
        keep &= table[column] == value
    return table[keep]


def usable(table: pd.DataFrame) -> pd.DataFrame:
    return table[np.isfinite(table["estimate"])]


def pick_measured(table: pd.DataFrame, quantity: str, **wanted: object) -> pd.DataFrame:
    """Usable rows of one quantity with source network or limit."""
    rows = usable(pick(table, quantity, **wanted))
    return rows[rows["source"].isin(("network", "limit"))]


def lines_of(table: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """The lines of a panel, (first row, rows), in the order of COLOURS."""
    groups = [(rows.iloc[0], rows) for _, rows in table.groupby("series", sort=True)]
    yield from sorted(groups, key=lambda group: order_of(group[0]))


def order_of(row: pd.Series) -> tuple:
    known = list(COLOURS)
    place = known.index(row["parametrization"]) if row["parametrization"] in known else len(known)
    trained = list(TRAINED).index(row["trainable"]) if is_control(row) else -1
    return place, not row["skip"], trained, row["correction"], row["coupling"] == "decoupled"


def is_control(row: pd.Series) -> bool:
    """Whether a two-layer network has only some of its weights trained."""
    return row["block_layers"] == 2 and row["trainable"] in TRAINED


def name_of(row: pd.Series, *, coupling: bool = True) -> str:
    """Printed name of a line."""
    name = NAMES.get(row["parametrization"])
    if name is None:
        return row["series"]
    if row["parametrization"] == "depth_mup_corrected":
        name += f", p = {exponent_text(row['correction'])}"
    if not row["skip"]:
        name += ", no skip"
    if is_control(row):
        name += f", {TRAINED[row['trainable']][0]}"
    return name + (", decoupled" if coupling and row["coupling"] == "decoupled" else "")


def exponent_text(value: float) -> str:
    return {0.25: "1/4", 0.5: "1/2", 0.75: "3/4"}.get(value, f"{value:g}")


# --------------------------------------------------------------------------------------- visual language


@dataclass(frozen=True)
class Mark:
    """How one line is drawn."""

    colour: str = INK
    dash: str = "-"
    marker: str = "o"
    filled: bool = True


def mark_of(row: pd.Series) -> Mark:
    """The marking that a line has in every figure."""
    marker = "D" if row["source"] == "limit" else "o"
    if is_control(row):
        marker = TRAINED[row["trainable"]][1]
    return Mark(colour_of(row), DASHES.get(row["coupling"], "-"), marker)


def colour_of(row: pd.Series) -> str:
    if not row["skip"]:
        return NO_SKIP
    colour = COLOURS.get(row["parametrization"], INK)
    if row["parametrization"] == "depth_mup_corrected":
        return _tint(colour, 0.5 + 0.5 * min(1.0, 2 * row["correction"]))
    return colour


def _tint(colour: str, strength: float) -> str:
    """The colour mixed with white; strength 1 leaves it unchanged."""
    return to_hex([1 - strength * (1 - part) for part in to_rgb(colour)])


def _ink(colour: str) -> str:
    """The colour, darkened where text in it would be hard to read on white."""
    red, green, blue = to_rgb(colour)
    brightness = 0.3 * red + 0.59 * green + 0.11 * blue
    return to_hex([part * min(1.0, 0.45 / max(brightness, 1e-9)) for part in to_rgb(colour)])


def ramp_of(table: pd.DataFrame, size: str) -> dict[float, str]:
    """A colour for every depth or width of the networks in a figure."""
    values = np.sort(table.loc[table["source"] == "network", size].dropna().unique())
    name, low, high = RAMPS[size]
    places = np.linspace(low, high, max(2, len(values)))
    return {
        value: to_hex(colormaps[name](place)) for value, place in zip(values, places, strict=False)
    }


def entry(text: str, mark: Mark | None = None, *, line: bool = True, marker: bool = True) -> Line2D:
    """One entry of a legend; without a mark only the text."""
    if mark is None:
        return Line2D([], [], linestyle="none", label=text)
    return Line2D(
        [],
        [],
        color=mark.colour,
        linestyle=mark.dash if line else "none",
        marker=mark.marker if marker else "none",
        markerfacecolor=mark.colour if mark.filled else "white",
        label=text,
    )


def ramp_entries(ramp: Mapping[float, str], size: str) -> list[Line2D]:
    keys = [entry(f"{value:g}", Mark(colour), marker=False) for value, colour in ramp.items()]
    if keys:
        symbol = {"depth": "L", "width": "n"}[size]
        keys[0].set_label(f"{size} {symbol} = {keys[0].get_label()}")
    return keys


def coupling_entries(table: pd.DataFrame) -> list[Line2D]:
    """Solid and dashed, where a figure shows both."""
    if not (table["coupling"] == "decoupled").any():
        return []
    return [entry(name, Mark(INK, dash), marker=False) for name, dash in DASHES.items()]


def line_entries(table: pd.DataFrame) -> list[Line2D]:
    """One entry per parametrization (and what else its series says)."""
    return [entry(name_of(row), mark_of(row)) for row, _ in lines_of(table)]


def limit_entries(table: pd.DataFrame) -> list[Line2D]:
    limits = table[table["source"] == "limit"]
    return [
        entry(LIMIT_NAMES[coupling], Mark(INK, DASHES[coupling], "D"))
        for coupling in LIMIT_NAMES
        if (limits["coupling"] == coupling).any()
    ]


# ----------------------------------------------------------------------------------- drawing one line


def draw_line(
    axes: Axes,
    points: pd.DataFrame,
    x: str,
    mark: Mark,
    *,
    join: bool = True,
    band: bool = False,
    label: str = "",
) -> None:
    """Estimates with their intervals (bars, or a band); ``label`` is written at the line's end.

    What a logarithmic axis cannot show is marked at its lower edge.
    """
    points = usable(points).sort_values(x)
    shown = points[points["estimate"] > 0] if axes.get_yscale() == "log" else points
    if len(shown) < len(points):
        _below_axis(axes, points[points["estimate"] <= 0], x, mark)
    if shown.empty:
        return
    _intervals(axes, shown, x, mark.colour, band)
    dense = band and len(shown) > 1
    axes.plot(
        shown[x],
        shown["estimate"],
        color=mark.colour,
        linestyle=mark.dash if join else "none",
        marker="none" if dense else mark.marker,
        markerfacecolor=mark.colour if mark.filled else "white",
        zorder=3,
    )
    if label:
        last = shown.iloc[-1]
        end_label(axes, last[x], last["estimate"], label, mark.colour)


def _intervals(axes: Axes, points: pd.DataFrame, x: str, colour: str, band: bool) -> None:
    points = points.dropna(subset=["ci_low", "ci_high"])
    if points.empty:
        return
    middle, low, high = (points[name].to_numpy(float) for name in ("estimate", "ci_low", "ci_high"))
    at = points[x].to_numpy(float)
    if axes.get_yscale() == "log":
        low = np.where(low > 0, low, middle * 1e-6)
        seen = np.maximum(low, middle / 3), np.minimum(high, middle * 3)
    else:
        reach = max(np.ptp(middle), np.quantile(high - low, 0.25))
        seen = np.maximum(low, middle - reach), np.minimum(high, middle + reach)
    # A wide interval is cut by the panel's edge rather than squeezing everything else.
    if band and len(points) > 1:
        outline = np.column_stack([np.r_[at, at[::-1]], np.r_[low, high[::-1]]])
        shape = PolyCollection([outline], facecolors=colour, alpha=0.16, linewidths=0)
    else:
        bars = [((a, b), (a, c)) for a, b, c in zip(at, low, high, strict=True)]
        shape = LineCollection(bars, colors=colour, linewidths=1.0, alpha=0.65, zorder=2.5)
    axes.add_collection(shape, autolim=False)
    for edge in seen:
        axes.update_datalim(np.column_stack([at, edge]))
    axes.autoscale_view()


def _below_axis(axes: Axes, points: pd.DataFrame, x: str, mark: Mark) -> None:
    """Zero or negative estimates on a logarithmic axis: a triangle at the edge, bar up to the interval's."""
    if points.empty:
        return
    edge_marks(axes, points[x], mark.colour, height=0.0)
    reach = points[points["ci_high"] > 0]
    bars = [
        ((at, high * 1e-6), (at, high)) for at, high in zip(reach[x], reach["ci_high"], strict=True)
    ]
    axes.add_collection(
        LineCollection(bars, colors=mark.colour, linewidths=1.0, alpha=0.65), autolim=False
    )
    axes.update_datalim(reach[[x, "ci_high"]].to_numpy(float))


def edge_marks(axes: Axes, at: pd.Series, colour: str, *, height: float) -> None:
    """Triangles at a ``height`` near the panel's lower (0) or upper (1) edge: values beyond it."""
    if not len(at):
        return
    axes.plot(
        at,
        np.full(len(at), height),
        transform=axes.get_xaxis_transform(),
        color=colour,
        linestyle="none",
        marker="v" if height < 0.5 else "^",
        markersize=4.5,
        clip_on=False,
        zorder=4,
    )


def draw_measured_and_fit(
    axes: Axes, table: pd.DataFrame, x: str, mark: Mark, *, label: str = ""
) -> None:
    """Measured points with bars; the fitted curve through them, or thin joining lines without one."""
    measured, fit = table[table["source"] != "fit"], usable(table[table["source"] == "fit"])
    draw_line(axes, measured, x, mark, join=fit.empty, label=label)
    if not fit.empty:
        fit = fit.sort_values(x)
        axes.plot(fit[x], fit["estimate"], color=mark.colour, linestyle=mark.dash, linewidth=1.0)


def draw_closed_form(axes: Axes, points: pd.DataFrame, x: str, label: str = "") -> None:
    points = usable(points).sort_values(x)
    if points.empty:
        return
    axes.plot(points[x], points["estimate"], color="black", linestyle=(0, (4, 2)), linewidth=1.0)
    if label:
        last = points.iloc[-1]
        end_label(axes, last[x], last["estimate"], label, "black")


def reference_line(axes: Axes, value: float, *, vertical: bool = False) -> None:
    """A thin line at a value of reference, such as no drift."""
    draw = axes.axvline if vertical else axes.axhline
    draw(value, color=FAINT, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1, gid=_REFERENCE)


def end_label(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """A label right of the panel at the height of (x, y); :func:`_spread_labels` moves it clear."""
    axes.annotate(
        text,
        xy=(x, y),
        xytext=(_LABEL_PLACE, y),
        textcoords=axes.get_yaxis_transform(),
        color=_ink(colour),
        fontsize=6.5,
        linespacing=1.1,
        va="center",
        ha="left",
        gid=_END_LABEL,
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.6,
            "linestyle": ":",
            "shrinkA": 1,
            "shrinkB": 3,
            "relpos": (0, 0.5),
        },
    )


def interval_text(row: pd.Series, digits: int = 2) -> str:
    """An estimate and its interval, as in '-0.98 [-1.05, -0.91]'."""
    numbers = (row[name] for name in ("estimate", "ci_low", "ci_high"))
    middle, low, high = (decimals(number, digits) for number in numbers)
    return f"{middle} [{low}, {high}]" if np.isfinite(row["ci_low"]) else middle


def decimals(value: float, digits: int = 2) -> str:
    """Fixed decimals with a true minus sign, none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def fitted_number(table: pd.DataFrame, quantity: str, name: str, **wanted: object) -> str:
    """Text such as 'slope -0.98 [-1.05, -0.91]' of a fitted number; empty if there is none."""
    rows = usable(pick(table, quantity, source="fit", **wanted))
    return "" if rows.empty else f"{name} {interval_text(rows.iloc[0])}"


def stack(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


# ----------------------------------------------------------------------------------------------- axes


def size_axis(axes: Axes, name: str, values: pd.Series) -> None:
    """A binary logarithmic x-axis with a tick at every size (or learning rate) that occurs."""
    values = np.sort(pd.Series(values).dropna().unique())
    axes.set_xscale("log", base=2)
    texts = _rate_texts(values) if name == "learning_rate" else [f"{v:g}" for v in values]
    fix_ticks(axes, "x", values, texts)
    axes.set_xlabel(AXIS_LABELS[name])
    if len(values):
        margin = max(1.12, (values[-1] / values[0]) ** 0.05)
        axes.set_xlim(values[0] / margin, values[-1] * margin)


def fix_ticks(axes: Axes, which: str, values: Sequence[float], texts: Sequence[str]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FixedFormatter(texts))
    axis.set_minor_locator(NullLocator())


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_two(value: float) -> str:
    """Such as 2⁻³, for a whole power of two (within rounding of the configuration); else empty."""
    power = float(np.log2(value))
    near = abs(power - round(power)) < 0.01
    return "2" + str(round(power)).translate(_SUPERSCRIPTS) if near else ""


def _rate_texts(values: Sequence[float]) -> list[str]:
    """Whole powers of two where the grid has at least two; decimals of all rates otherwise."""
    texts = [power_of_two(value) for value in values]
    return texts if sum(map(bool, texts)) > 1 else [f"{value:.3g}" for value in values]


def _number(value: float) -> str:
    """A tick of a logarithmic axis."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    lead = value / 10.0**power
    times = "" if abs(lead - 1) < 1e-6 else f"{lead:.3g}×"
    return f"{times}10" + str(power).translate(_SUPERSCRIPTS)


def _log_ticks(low: float, high: float) -> list[float]:
    """Between two and about seven readable ticks from ``low`` to ``high``."""
    decades = np.log10(high / low)
    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    if decades > 2.2:
        step = int(np.ceil(decades / 5))
        return [10.0**p for p in powers if p % step == 0 and low <= 10.0**p <= high]
    for leads in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [lead * 10.0**p for p in powers for lead in leads]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks
    return [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]


def log_y(axes: Axes, label: str) -> None:
    axes.set_yscale("log")
    axes.set_ylabel(label)


def linear_y(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))


def _step_axis(axes: Axes) -> None:
    axes.set_xlabel(AXIS_LABELS["step"])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)


def add_note(axes: Axes, text: str) -> None:
    """A remark in grey, after the panel's title."""
    if text:
        title = axes.get_title(loc="left")
        axes.set_title(f"{title}\n{text}" if title else text, loc="left")


def diverged_note(table: pd.DataFrame) -> str:
    """How many runs were left out of these rows because they diverged."""
    rows = usable(pick(table, "diverged_runs"))
    runs = int(rows["estimate"].sum())
    return f"{runs} diverged run{'s' * (runs != 1)} left out" if runs else ""


# ------------------------------------------------------------------------------------- laying out a page


@dataclass(frozen=True)
class Panel:
    """``draw(axes, table)``; a panel whose table holds no value says so instead."""

    title: str
    table: pd.DataFrame
    draw: Draw


@dataclass(frozen=True)
class Row:
    """Panels side by side under one legend; ``height`` in inches includes ticks and labels."""

    panels: list[Panel]
    legend: list[Line2D] = field(default_factory=list)
    height: float = 1.85
    share_y: bool = False
    widths: tuple[float, ...] | None = None


def make_page(rows: list[Row], table: pd.DataFrame, context: Context) -> Figure:
    rows = [row for row in rows if any(_has_values(panel) for panel in row.panels)]
    foot = _foot(table, context)
    legends = [_legend_lines(row.legend) for row in rows]
    heights = [row.height + 0.17 * lines for row, lines in zip(rows, legends, strict=True)]
    heights = (heights or [1.2]) + [0.09 + 0.115 * len(foot)]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    bands = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    letters = iter(ascii_lowercase)
    for band, row in zip(bands, rows, strict=False):
        _fill(band, row, letters)
    if not rows:
        bands[0].text(0.5, 0.5, f"nothing to show: {NOT_MEASURED}", color=FAINT, ha="center")
    bands[-1].text(
        0.008, 0.97, "\n".join(foot), fontsize=5.8, color=FAINT, va="top", linespacing=1.25
    )
    figure.set_label(" ".join(foot))
    _settle(figure)
    return figure


def _legend_lines(keys: list[Line2D]) -> int:
    """How many lines a legend takes; an entry's line and gaps are about seven characters wide."""
    return -(-sum(len(key.get_label()) + 7 for key in keys) // 118)


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
    grid = band.subplots(
        1, len(panels), squeeze=False, sharey=row.share_y, width_ratios=row.widths
    )[0]
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
    lines = [line for line in axes.lines if line.get_gid() != _REFERENCE]
    return bool(lines or axes.collections)


def _say_why_empty(axes: Axes, panel: Panel) -> None:
    axes.set_axis_off()
    lost = len(panel.table) > 0 and not _has_values(panel)
    reason = "no usable value" if lost else NOT_MEASURED
    axes.text(0.5, 0.5, reason, color=FAINT, ha="center", transform=axes.transAxes)


def _foot(table: pd.DataFrame, context: Context) -> list[str]:
    """Which settings made this figure, and the exponents behind the names."""
    used = usable(table[table["source"].isin(("network", "limit"))])
    seeds = used.loc[used["quantity"] != "diverged_runs", "seeds"].dropna()
    made = [context.dataset, f"preset {context.preset}", f"configuration {context.digest}"]
    if len(seeds):
        low, high = int(seeds.min()), int(seeds.max())
        many = f"{low} to {high} seeds" if low != high else f"{low} seed{'s' * (low != 1)}"
        bars = "bars and bands: 95 % intervals over seeds" if high > 1 else "no intervals"
        made += [many, bars]
    lost = diverged_note(table)
    made += [lost] if lost else []
    names = [name for name in COLOURS if (table["parametrization"] == name).any()]
    texts = [_exponents(name, table[table["parametrization"] == name]) for name in names]
    legend = "n width, L depth, T horizon; learning rates are multiplied by"
    lines = [" · ".join(made)]
    if texts:
        lines += textwrap.wrap(f"{legend}: " + "; ".join(texts), 150)
    return lines


def _exponents(name: str, rows: pd.DataFrame) -> str:
    """Branch multiplier and learning-rate factors of one parametrization, for what is drawn."""
    row = PARAMETRIZATIONS[name]
    optimizers = [text for text in ("sgd", "adam") if (rows["optimizer"] == text).any()] or ["sgd"]
    two_layers = (rows["block_layers"] == 2).any()
    roles = {"hidden_1": "W₁", "hidden_2": "W₂"} if two_layers else {"hidden_2": "W"}
    rates = {
        label: " | ".join(str(getattr(row.cells[role], optimizer)) for optimizer in optimizers)
        for role, label in roles.items()
    }
    if len(set(rates.values())) == 1:
        rates = {" and ".join(rates): next(iter(rates.values()))}
    factors = ", ".join(f"{label} by {rate}" for label, rate in rates.items())
    unit = "/".join(text.upper() if text == "sgd" else "Adam" for text in optimizers)
    shown = "corrected Depth-μP" if row.has_correction else NAMES[name]
    return f"{shown} (branch {row.branch}): {factors} ({unit})"


def _settle(figure: Figure) -> None:
    """Final ticks and labels: they depend on where everything has come to lie."""
    every = _all_axes(figure)
    for axes in every:
        for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            fixed = isinstance(axis.get_major_locator(), FixedLocator)
            if axes.axison and axis.get_scale() == "log" and not fixed:
                ticks = _log_ticks(*axis.get_view_interval())
                fix_ticks(axes, which, ticks, [_number(tick) for tick in ticks])
    for label in (label for axes in every for label in _end_labels(axes)):
        low, high = label.axes.get_ylim()
        label.xy = label.xy[0], min(max(label.xy[1], low), high)  # also from infinity
        label.set_position((_LABEL_PLACE, label.xy[1]))
    layout = figure.get_layout_engine()
    for _ in range(2):  # the second time for margins that the first has changed
        layout.execute(figure)
        for axes in every:
            _thin_ticks(axes)
            _spread_labels(axes)
    figure.set_layout_engine("none")
    _align(figure)
    for axes in every:
        _thin_ticks(axes)


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


def _thin_ticks(axes: Axes) -> None:
    """Leave out every second label (third, ...) of a fixed axis until none touch."""
    for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if not (axes.axison and isinstance(axis.get_major_formatter(), FixedFormatter)):
            continue
        ticks = list(axis.get_major_locator().locs)
        texts = list(axis.get_major_formatter().seq)
        labels = axis.get_ticklabels()
        if len(labels) < len(ticks):
            continue  # written on a neighbour that shares this axis
        low, high = (0, 2) if which == "x" else (1, 3)
        written = [place for place, text in enumerate(texts) if text]
        boxes = [labels[place].get_window_extent().extents for place in written]
        spans = [(box[low] - 1.5, box[high] + 1.5) for box in boxes]
        stride = next(
            s
            for s in range(1, len(ticks) + 2)
            if all(a[1] <= b[0] for a, b in zip(spans[::s], spans[s::s], strict=False))
        )
        kept = set(written[::stride])
        fix_ticks(axes, which, ticks, [t if i in kept else "" for i, t in enumerate(texts)])


def _end_labels(axes: Axes) -> list[Annotation]:
    return [text for text in axes.texts if text.get_gid() == _END_LABEL]


def _spread_labels(axes: Axes) -> None:
    """Move the labels at line ends up or down, as little as possible, until none touch."""
    labels = _end_labels(axes)
    if not labels:
        return
    labels.sort(key=lambda label: _pixel(axes, label.xy[1]))
    heights = np.array([_text_height(label) for label in labels])
    wanted = np.array([_pixel(axes, label.xy[1]) for label in labels])
    bottom, top = axes.bbox.y0, axes.bbox.y1
    for label, y in zip(labels, _spread(wanted, heights, bottom, top), strict=True):
        label.set_position((_LABEL_PLACE, axes.transData.inverted().transform((0, y))[1]))


def _pixel(axes: Axes, y: float) -> float:
    return float(axes.transData.transform((axes.get_xlim()[0], y))[1])


def _text_height(label: Annotation) -> float:
    return Text.get_window_extent(label).height + 1.0


def _spread(wanted: np.ndarray, heights: np.ndarray, bottom: float, top: float) -> np.ndarray:
    """Centres nearest to the sorted ``wanted`` (least squares) that keep ``heights`` apart, in bounds.

    Shifted by the heights below them, the centres only have to be in order, which pooling of
    neighbours out of order solves exactly; clipping then respects the bounds.
    """
    offsets = np.concatenate([[0.0], np.cumsum((heights[1:] + heights[:-1]) / 2)])
    pools: list[list[float]] = []
    for value in wanted - offsets:
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    low, high = bottom + heights[0] / 2, top - heights[-1] / 2 - offsets[-1]
    return offsets + (np.clip(level, low, high) if low <= high else (low + high) / 2)


# ----------------------------------------------------------------------------------- panels of many figures


def steps_panel(axes: Axes, table: pd.DataFrame, label: str, size: str, ramp: Mapping) -> None:
    """Curves over training steps: colour by ``size``, dashed if decoupled, limits with diamonds."""
    log_y(axes, label)
    keys = [size, "coupling", "source", "series"]
    for (value, coupling, source, _), points in table.groupby(keys, sort=True):
        limit = source == "limit"
        colour = ramp.get(value, INK)
        mark = Mark(colour, ":" if limit else DASHES.get(coupling, "-"), "D", filled=not limit)
        draw_line(axes, points, "step", mark, band=True)
        if limit:
            end = points[points["step"] == points["step"].max()]
            draw_line(axes, end, "step", mark, join=False)
    _step_axis(axes)


def sizes_panel(
    axes: Axes,
    table: pd.DataFrame,
    label: str,
    x: str,
    *,
    log: bool = True,
    labels: Callable[[pd.Series], str] | None = None,
) -> None:
    """Points over a size, one line per series in its own colour, with the fits among the rows."""
    (log_y if log else linear_y)(axes, label)
    size_axis(axes, x, table.loc[table["source"] != "fit", x])
    for row, points in lines_of(table):
        first = points[points["source"] != "fit"]
        mark = mark_of(first.iloc[0] if len(first) else row)
        draw_measured_and_fit(axes, points, x, mark, label=labels(row) if labels else "")


def ramp_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, by: str, ramp: Mapping, *, log: bool = True
) -> None:
    """Points over one size, coloured by the other; limits as level lines (over width) or diamonds."""
    (log_y if log else linear_y)(axes, label)
    networks = table[table["source"] == "network"]
    size_axis(axes, x, networks[x])
    for (_, value), points in table[table["source"] != "limit"].groupby(["series", by]):
        if value in ramp:
            mark = replace(mark_of(points.iloc[0]), colour=ramp[value])
            draw_measured_and_fit(axes, points, x, mark)
    for coupling, limits in table[table["source"] == "limit"].groupby("coupling"):
        if x == "width":
            _level_lines(axes, limits, by, ramp)
        else:
            draw_line(axes, limits, x, Mark(INK, DASHES[coupling], "D"))


def _level_lines(axes: Axes, limits: pd.DataFrame, by: str, ramp: Mapping) -> None:
    """A horizontal line with its band for every limit."""
    for _, row in usable(limits).iterrows():
        colour = ramp.get(row[by], INK)
        axes.axhline(
            row["estimate"], color=colour, linewidth=0.8, linestyle=DASHES[row["coupling"]]
        )
        axes.plot(
            0.985, row["estimate"], "D", color=colour, markersize=3,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
        if np.isfinite(row["ci_low"]):
            axes.axhspan(row["ci_low"], row["ci_high"], color=colour, alpha=0.15, linewidth=0)


def dots_panel(
    axes: Axes,
    table: pd.DataFrame,
    label: str,
    groups: Mapping[str, str],
    *,
    references: Sequence[float] = (),
) -> None:
    """Fitted numbers with intervals: one line of text per quantity, one dot per series and step."""
    axes.set_xlabel(label)
    names = [name for name in groups if (table["quantity"] == name).any()]
    for value in references:
        reference_line(axes, value, vertical=True)
    table = usable(table)
    for place, name in enumerate(names):
        rows = [
            row
            for _, part in lines_of(table[table["quantity"] == name])
            for _, row in part.iterrows()
        ]
        for offset, row in zip(_dodge(len(rows)), rows, strict=True):
            _dot(axes, row, place + offset, filled=_is_last(row, table))
    axes.set_yticks(range(len(names)), [groups[name] for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))
    _robust_limits(axes, table, references)


def _dodge(number: int) -> np.ndarray:
    return np.linspace(-0.33, 0.33, number) if number > 1 else np.zeros(1)


def _is_last(row: pd.Series, table: pd.DataFrame) -> bool:
    return not row["step"] < table["step"].max()


def _dot(axes: Axes, row: pd.Series, y: float, *, filled: bool) -> None:
    mark = mark_of(row)
    face = mark.colour if filled else "white"
    axes.plot(
        row["estimate"], y, marker=mark.marker, color=mark.colour, markerfacecolor=face,
        markersize=3, zorder=3,
    )  # fmt: skip
    if np.isfinite(row["ci_low"]) and np.isfinite(row["ci_high"]):
        axes.plot(
            [row["ci_low"], row["ci_high"]], [y, y], color=mark.colour, linestyle=mark.dash,
            alpha=0.65, linewidth=1.0, scalex=False,
        )  # fmt: skip


def _robust_limits(axes: Axes, table: pd.DataFrame, references: Sequence[float]) -> None:
    """Show all estimates, and intervals as far as they do not squeeze them."""
    if table.empty:
        return
    middle = np.r_[table["estimate"].to_numpy(float), references]
    reach = max(np.ptp(middle), 0.2 * np.abs(middle).max(), 1e-9)
    low = max(np.nanmin(np.r_[table["ci_low"], middle]), middle.min() - reach)
    high = min(np.nanmax(np.r_[table["ci_high"], middle]), middle.max() + reach)
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))


# ----------------------------------------------------------------------------------------------- saving


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write ``stem``.pdf, .png and .svg, each atomically; returns the paths.

    The same figure gives the same bytes: no dates are written. What made the figure stands in each
    file's metadata.
    """
    paths = [Path(f"{stem}.{format}") for format in FORMATS]
    for path in paths:
        save_as(figure, path)
    return paths


def save_as(figure: Figure, path: str | Path) -> None:
    """Write one file, in the format that its suffix names. Raises ValueError for any but FORMATS."""
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
