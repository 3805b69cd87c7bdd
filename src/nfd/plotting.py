"""One function per figure: a table of evidence in, a matplotlib figure out.

:data:`FIGURES` maps each figure's name to a function of ``(evidence, context)``; the evidence has the
columns of :data:`nfd.evidence.EVIDENCE_COLUMNS` and the meaning its docstring gives. Nothing is computed
here but positions and colours, so what is drawn is what is judged.

One visual language for all figures: colour is the parametrization (or, where a panel shows a single one,
a ramp over depth or width); a solid line is standard training, a dashed line decoupled training; a circle
is a network, a diamond a limit; bars and bands are 95 % intervals over seeds; closed forms are dashed
black. The foot of every figure names the data set, preset, configuration, seeds and exponents.

A figure function lists rows of panels; :func:`_page` lays them out, letters them and adds the foot.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from pathlib import Path
from string import ascii_lowercase

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from nfd.parametrization import PARAMETRIZATIONS
from nfd.tables import atomic_path

WIDTH = 7.0  # inches: two columns of a journal
FORMATS = ("pdf", "png", "svg")
DPI = 200
STYLE: Mapping[str, object] = {
    "axes.grid": True,
    "axes.labelpad": 2.5,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": matplotlib.cycler(color=["#333333"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.titlesize": 7.5,
    "axes.unicode_minus": True,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    # DejaVu comes with matplotlib, so that a figure is the same on every machine.
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 7.5,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.handletextpad": 0.45,
    "lines.linewidth": 1.2,
    "lines.markeredgewidth": 0.8,
    "lines.markersize": 3.6,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "nfd",
    "xtick.labelsize": 6.5,
    "xtick.major.pad": 2,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 6.5,
    "ytick.major.pad": 2,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
}

# Colours that colour-blind readers tell apart (Okabe and Ito), in the order in which lines are listed.
COLOURS: Mapping[str, str] = {
    "depth_mup": "#0072B2",
    "depth_mup_corrected": "#D55E00",
    "complete_p": "#009E73",
    "mup": "#E69F00",
    "ntk": "#CC79A7",
    "standard": "#6E6E6E",
}
NO_SKIP = "#56B4E9"
INK, FAINT = "#222222", "#777777"
NAMES: Mapping[str, str] = {
    "depth_mup": "Depth-μP",
    "depth_mup_corrected": "corrected Depth-μP",
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
TICK_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Context:
    """What made the figure: data set, preset and digest of the configuration, as text."""

    dataset: str = "unknown data"
    preset: str = "unknown"
    digest: str = "unknown"


Draw = Callable[[Axes, pd.DataFrame], None]
FigureFunction = Callable[[pd.DataFrame, Context], Figure]
FIGURES: dict[str, FigureFunction] = {}


# ------------------------------------------------------------------------------------ reading evidence


def _tidy(evidence: pd.DataFrame) -> pd.DataFrame:
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


def _pick(table: pd.DataFrame, quantity: str, **wanted: object) -> pd.DataFrame:
    """Rows of one quantity whose columns equal ``wanted``."""
    keep = table["quantity"] == quantity
    for column, value in wanted.items():
        keep &= table[column] == value
    return table[keep]


def _usable(table: pd.DataFrame) -> pd.DataFrame:
    return table[np.isfinite(table["estimate"])]


def _measured(table: pd.DataFrame, quantity: str, **wanted: object) -> pd.DataFrame:
    """Usable rows of one quantity with source network or limit."""
    rows = _usable(_pick(table, quantity, **wanted))
    return rows[rows["source"].isin(("network", "limit"))]


def _lines(table: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """The lines of a panel, (first row, rows), in the order of COLOURS."""
    groups = [(rows.iloc[0], rows) for _, rows in table.groupby("series", sort=True)]
    yield from sorted(groups, key=lambda group: _rank(group[0]))


def _rank(row: pd.Series) -> tuple:
    known = list(COLOURS)
    place = known.index(row["parametrization"]) if row["parametrization"] in known else len(known)
    trained = list(TRAINED).index(row["trainable"]) if _is_control(row) else -1
    return place, not row["skip"], trained, row["correction"], row["coupling"] == "decoupled"


def _is_control(row: pd.Series) -> bool:
    """Whether a two-layer network has only some of its weights trained."""
    return row["block_layers"] == 2 and row["trainable"] in TRAINED


def _name(row: pd.Series, *, coupling: bool = True) -> str:
    """Printed name of a line."""
    name = NAMES.get(row["parametrization"])
    if name is None:
        return row["series"]
    if row["parametrization"] == "depth_mup_corrected":
        name += f", p = {_exponent_text(row['correction'])}"
    if not row["skip"]:
        name += ", no skip"
    if _is_control(row):
        name += f", {TRAINED[row['trainable']][0]}"
    return name + (", decoupled" if coupling and row["coupling"] == "decoupled" else "")


def _exponent_text(value: float) -> str:
    return {0.25: "1/4", 0.5: "1/2", 0.75: "3/4"}.get(value, f"{value:g}")


# --------------------------------------------------------------------------------------- visual language


@dataclass(frozen=True)
class Mark:
    """How one line is drawn."""

    colour: str = INK
    dash: str = "-"
    marker: str = "o"
    filled: bool = True


def _mark(row: pd.Series) -> Mark:
    """The marking that a line has in every figure."""
    marker = "D" if row["source"] == "limit" else "o"
    if _is_control(row):
        marker = TRAINED[row["trainable"]][1]
    return Mark(_colour(row), DASHES.get(row["coupling"], "-"), marker)


def _colour(row: pd.Series) -> str:
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


def _ramp(table: pd.DataFrame, size: str) -> dict[float, str]:
    """A colour for every depth or width of the networks in a figure."""
    values = np.sort(table.loc[table["source"] == "network", size].dropna().unique())
    name, low, high = RAMPS[size]
    places = np.linspace(low, high, len(values)) if len(values) > 1 else [low]
    return {
        value: to_hex(colormaps[name](place)) for value, place in zip(values, places, strict=True)
    }


def _key(text: str, mark: Mark | None = None, *, line: bool = True, marker: bool = True) -> Line2D:
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


def _ramp_keys(ramp: Mapping[float, str], size: str) -> list[Line2D]:
    keys = [_key(f"{value:g}", Mark(colour), marker=False) for value, colour in ramp.items()]
    if keys:
        symbol = {"depth": "L", "width": "n"}[size]
        keys[0].set_label(f"{size} {symbol} = {keys[0].get_label()}")
    return keys


def _coupling_keys(table: pd.DataFrame) -> list[Line2D]:
    """Solid and dashed, where a figure shows both."""
    if not (table["coupling"] == "decoupled").any():
        return []
    return [_key(name, Mark(INK, dash), marker=False) for name, dash in DASHES.items()]


def _line_keys(table: pd.DataFrame) -> list[Line2D]:
    """One entry per parametrization (and what else its series says)."""
    return [_key(_name(row), _mark(row)) for row, _ in _lines(table)]


def _limit_keys(table: pd.DataFrame) -> list[Line2D]:
    limits = table[table["source"] == "limit"]
    return [
        _key(LIMIT_NAMES[coupling], Mark(INK, DASHES[coupling], "D"))
        for coupling in LIMIT_NAMES
        if (limits["coupling"] == coupling).any()
    ]


# ----------------------------------------------------------------------------------- drawing one line


def _draw_line(
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
    points = _usable(points).sort_values(x)
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
        _end_label(axes, last[x], last["estimate"], label, mark.colour)


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
        reach = 2 * max(np.ptp(middle), np.median(high - low))
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
    _edge_marks(axes, points[x], mark.colour, bottom=True)
    reach = points[points["ci_high"] > 0]
    bars = [
        ((at, high * 1e-6), (at, high)) for at, high in zip(reach[x], reach["ci_high"], strict=True)
    ]
    axes.add_collection(
        LineCollection(bars, colors=mark.colour, linewidths=1.0, alpha=0.65), autolim=False
    )
    axes.update_datalim(reach[[x, "ci_high"]].to_numpy(float))


def _edge_marks(axes: Axes, at: pd.Series, colour: str, *, bottom: bool = False) -> None:
    """Triangles on the panel's lower or upper edge: the value lies beyond it."""
    if not len(at):
        return
    axes.plot(
        at,
        np.full(len(at), 0.0 if bottom else 1.0),
        transform=axes.get_xaxis_transform(),
        color=colour,
        linestyle="none",
        marker="v" if bottom else "^",
        markersize=4.5,
        clip_on=False,
        zorder=4,
    )


def _draw_measured_and_fit(
    axes: Axes, table: pd.DataFrame, x: str, mark: Mark, *, label: str = ""
) -> None:
    """Measured points with bars; the fitted curve through them, or thin joining lines without one."""
    measured, fit = table[table["source"] != "fit"], _usable(table[table["source"] == "fit"])
    _draw_line(axes, measured, x, mark, join=fit.empty, label=label)
    if not fit.empty:
        fit = fit.sort_values(x)
        axes.plot(fit[x], fit["estimate"], color=mark.colour, linestyle=mark.dash, linewidth=1.0)


def _closed_form(axes: Axes, points: pd.DataFrame, x: str, label: str = "") -> None:
    points = _usable(points).sort_values(x)
    if points.empty:
        return
    axes.plot(points[x], points["estimate"], color="black", linestyle=(0, (4, 2)), linewidth=1.0)
    if label:
        last = points.iloc[-1]
        _end_label(axes, last[x], last["estimate"], label, "black")


def _reference(axes: Axes, value: float, *, vertical: bool = False) -> None:
    """A thin line at a value of reference, such as no drift."""
    draw = axes.axvline if vertical else axes.axhline
    draw(value, color=FAINT, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1)


def _end_label(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """A label right of the panel at the height of (x, y); :func:`_spread_labels` moves it clear."""
    axes.annotate(
        text,
        xy=(x, y),
        xytext=(1.03, y),
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
            "linewidth": 0.5,
            "alpha": 0.6,
            "shrinkA": 1,
            "shrinkB": 3,
            "relpos": (0, 0.5),
        },
    )


def _interval_text(row: pd.Series, digits: int = 2) -> str:
    """An estimate and its interval, as in '-0.98 [-1.05, -0.91]'."""
    numbers = [f"{row[name]:.{digits}f}" for name in ("estimate", "ci_low", "ci_high")]
    middle, low, high = (number.replace("-", "−") for number in numbers)
    return f"{middle} [{low}, {high}]" if np.isfinite(row["ci_low"]) else middle


def _fitted_number(table: pd.DataFrame, quantity: str, name: str, **wanted: object) -> str:
    """Text such as 'slope -0.98 [-1.05, -0.91]' of a fitted number; empty if there is none."""
    rows = _usable(_pick(table, quantity, source="fit", **wanted))
    return "" if rows.empty else f"{name} {_interval_text(rows.iloc[0])}"


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


# ----------------------------------------------------------------------------------------------- axes


def _size_axis(axes: Axes, name: str, values: pd.Series) -> None:
    """A binary logarithmic x-axis with a tick at every size (or learning rate) that occurs."""
    values = np.sort(pd.Series(values).dropna().unique())
    axes.set_xscale("log", base=2)
    texts = [_power_of_two(v) if name == "learning_rate" else f"{v:g}" for v in values]
    _fix_ticks(axes, "x", values, texts)
    axes.set_xlabel(AXIS_LABELS[name])
    if len(values):
        margin = max(1.12, (values[-1] / values[0]) ** 0.05)
        axes.set_xlim(values[0] / margin, values[-1] * margin)


def _fix_ticks(axes: Axes, which: str, values: Sequence[float], texts: Sequence[str]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FixedFormatter(texts))
    axis.set_minor_locator(NullLocator())


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power_of_two(value: float) -> str:
    power = np.log2(value)
    if abs(power - round(power)) > 1e-6:
        return f"{value:g}"
    return "2" + str(round(power)).translate(_SUPERSCRIPTS)


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


def _log_y(axes: Axes, label: str) -> None:
    axes.set_yscale("log")
    axes.set_ylabel(label)


def _linear_y(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))


def _step_axis(axes: Axes) -> None:
    axes.set_xlabel(AXIS_LABELS["step"])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)


def _note(axes: Axes, text: str) -> None:
    """A remark in grey, after the panel's title."""
    if text:
        title = axes.get_title(loc="left")
        axes.set_title(f"{title}\n{text}" if title else text, loc="left")


def _diverged_note(table: pd.DataFrame) -> str:
    """How many runs were left out of these rows because they diverged."""
    rows = _usable(_pick(table, "diverged_runs"))
    runs = int(rows["estimate"].sum())
    return f"{runs} diverged run{'s' * (runs != 1)} left out" if runs else ""


# ------------------------------------------------------------------------------------- laying out a page


@dataclass(frozen=True)
class Panel:
    """``draw(axes, table)``; a panel whose table is empty says that it was not measured."""

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


def _figure(rows_of: Callable[[pd.DataFrame], list[Row]]) -> FigureFunction:
    """Register a function that lists a figure's rows as the figure of its name."""

    @wraps(rows_of)
    def draw(evidence: pd.DataFrame, context: Context) -> Figure:
        with rc_context(dict(STYLE)):
            table = _tidy(evidence)
            return _page(rows_of(table), table, context)

    FIGURES[rows_of.__name__] = draw
    return draw


def _page(rows: list[Row], table: pd.DataFrame, context: Context) -> Figure:
    rows = [row for row in rows if any(len(panel.table) for panel in row.panels)]
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
    filled = keys + [_key("") for _ in range(lines * columns - len(keys))]
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
        if panel.table.empty:
            _say_not_measured(axes)
            continue
        panel.draw(axes, panel.table)
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


def _say_not_measured(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, NOT_MEASURED, color=FAINT, ha="center", transform=axes.transAxes)


def _foot(table: pd.DataFrame, context: Context) -> list[str]:
    """Which settings made this figure, and the exponents behind the names."""
    seeds = table.loc[table["source"].isin(("network", "limit")), "seeds"].dropna()
    made = [context.dataset, f"preset {context.preset}", f"configuration {context.digest}"]
    if len(seeds):
        low, high = int(seeds.min()), int(seeds.max())
        many = f"{low} to {high} seeds" if low != high else f"{low} seed{'s' * (low != 1)}"
        bars = "bars and bands: 95 % intervals over seeds" if high > 1 else "no intervals"
        made += [many, bars]
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
        label: " | ".join(str(getattr(row.cells[role], name)) for name in optimizers)
        for role, label in roles.items()
    }
    if len(set(rates.values())) == 1:
        rates = {" and ".join(rates): next(iter(rates.values()))}
    factors = ", ".join(f"{label} by {rate}" for label, rate in rates.items())
    unit = "/".join(text.upper() if text == "sgd" else "Adam" for text in optimizers)
    return f"{NAMES[name]} (branch {row.branch}): {factors} ({unit})"


def _settle(figure: Figure) -> None:
    """Final ticks and labels: they depend on where everything has come to lie."""
    every = _all_axes(figure)
    for axes in every:
        for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            fixed = isinstance(axis.get_major_locator(), FixedLocator)
            if axes.axison and axis.get_scale() == "log" and not fixed:
                ticks = _log_ticks(*axis.get_view_interval())
                _fix_ticks(axes, which, ticks, [_number(tick) for tick in ticks])
    for _ in range(2):  # the second time for margins that the first has changed
        figure.draw_without_rendering()
        for axes in every:
            _thin_ticks(axes)
            _spread_labels(axes)
    figure.draw_without_rendering()
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
        _fix_ticks(axes, which, ticks, [t if i in kept else "" for i, t in enumerate(texts)])


def _spread_labels(axes: Axes) -> None:
    """Move the labels at line ends up or down, as little as possible, until none touch."""
    labels = [text for text in axes.texts if text.get_gid() == _END_LABEL]
    if not labels:
        return
    labels.sort(key=lambda label: _pixel(axes, label.xy[1]))
    heights = np.array([_text_height(label) for label in labels])
    wanted = np.array([_pixel(axes, label.xy[1]) for label in labels])
    bottom, top = axes.bbox.y0, axes.bbox.y1
    for label, y in zip(labels, _spread(wanted, heights, bottom, top), strict=True):
        label.set_position((1.03, axes.transData.inverted().transform((0, y))[1]))


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


def _steps_panel(axes: Axes, table: pd.DataFrame, label: str, size: str, ramp: Mapping) -> None:
    """Curves over training steps: colour by ``size``, dashed if decoupled, limits with diamonds."""
    _log_y(axes, label)
    keys = [size, "coupling", "source", "series"]
    for (value, coupling, source, _), points in table.groupby(keys, sort=True):
        limit = source == "limit"
        colour = ramp.get(value, INK)
        mark = Mark(colour, ":" if limit else DASHES.get(coupling, "-"), "D", filled=not limit)
        _draw_line(axes, points, "step", mark, band=True)
        if limit:
            end = points[points["step"] == points["step"].max()]
            _draw_line(axes, end, "step", mark, join=False)
    _step_axis(axes)


def _sizes_panel(
    axes: Axes,
    table: pd.DataFrame,
    label: str,
    x: str,
    *,
    log: bool = True,
    labels: Callable[[pd.Series], str] | None = None,
) -> None:
    """Points over a size, one line per series in its own colour, with the fits among the rows."""
    (_log_y if log else _linear_y)(axes, label)
    _size_axis(axes, x, table.loc[table["source"] != "fit", x])
    for row, points in _lines(table):
        first = points[points["source"] != "fit"]
        mark = _mark(first.iloc[0] if len(first) else row)
        _draw_measured_and_fit(axes, points, x, mark, label=labels(row) if labels else "")


def _ramp_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, by: str, ramp: Mapping, *, log: bool = True
) -> None:
    """Points over one size, coloured by the other; limits as level lines (over width) or diamonds."""
    (_log_y if log else _linear_y)(axes, label)
    networks = table[table["source"] == "network"]
    _size_axis(axes, x, networks[x])
    for (_, value), points in table[table["source"] != "limit"].groupby(["series", by]):
        if value in ramp:
            mark = replace(_mark(points.iloc[0]), colour=ramp[value])
            _draw_measured_and_fit(axes, points, x, mark)
    for coupling, limits in table[table["source"] == "limit"].groupby("coupling"):
        if x == "width":
            _level_lines(axes, limits, by, ramp)
        else:
            _draw_line(axes, limits, x, Mark(INK, DASHES[coupling], "D"))


def _level_lines(axes: Axes, limits: pd.DataFrame, by: str, ramp: Mapping) -> None:
    """A horizontal line with its band for every limit."""
    for _, row in _usable(limits).iterrows():
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


def _dots_panel(
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
        _reference(axes, value, vertical=True)
    table = _usable(table)
    for place, name in enumerate(names):
        rows = [
            row
            for _, part in _lines(table[table["quantity"] == name])
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
    mark = _mark(row)
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


# --------------------------------------------------------------------------------------------- the figures


@_figure
def gia_restoration(table: pd.DataFrame) -> list[Row]:
    """Standard against decoupled training over depth (claim C4)."""
    losses = _measured(table, "train_loss")
    ramp = _ramp(losses, "depth")
    gaps = table[table["quantity"].str.startswith("output_gap")]
    first, last = _first_and_last(gaps[gaps["source"] == "network"])
    after_first = gaps[gaps["step"] == first]
    at_last = gaps[gaps["step"] == last] if last > first else gaps.iloc[:0]
    loss_gap = table[table["quantity"].isin(("loss_gap", "loss_gap_limit"))]
    exact = _pick(table, "first_step_change")
    return [
        *_gia_losses(table, losses, ramp),
        Row(
            [
                Panel("output gap after the first step", after_first, _gap_panel),
                Panel("exact first step of a wide Depth-μP network", exact, _first_step_panel),
            ],
            _gap_keys(gaps),
        ),
        Row(
            [
                Panel("output gap after the last step", at_last, _gap_panel),
                Panel("loss gap after the last step", loss_gap, _loss_gap_panel),
            ]
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
    for part in sorted(kinds, key=lambda part: _rank(part.iloc[0])):
        kind = part.iloc[0]
        lost = _pick(
            table, "diverged_runs", parametrization=kind["parametrization"], skip=kind["skip"]
        )
        curves = partial(_steps_panel, label="training loss", size="depth", ramp=ramp)
        draw = partial(_noted, _diverged_note(lost), curves)
        panels.append(Panel(_name(kind, coupling=False), part, draw))
    legend = [*_ramp_keys(ramp, "depth"), *_coupling_keys(losses)]
    for start in range(0, len(panels), 3):
        yield Row(panels[start : start + 3], legend if start == 0 else [], share_y=True)


def _noted(note: str, draw: Draw, axes: Axes, table: pd.DataFrame) -> None:
    draw(axes, table)
    _note(axes, note)


def _gap_keys(gaps: pd.DataFrame) -> list[Line2D]:
    keys = [_key("single runs", Mark(), line=False)]
    if (gaps["quantity"] == "output_gap_mean").any():
        keys.append(_key("mean over seeds", Mark(filled=False), line=False))
    if (gaps["source"] == "fit").any():
        keys.append(_key("fit c∞ + c L⁻ʳ", Mark(), marker=False))
    if (gaps["source"] == "closed_form").any():
        keys.append(_key("closed form: one sample, η → 0", Mark("black", "--"), marker=False))
    return keys


def _gap_panel(axes: Axes, table: pd.DataFrame) -> None:
    """Relative output gaps: single runs filled with their fit, means over seeds hollow."""
    _log_y(axes, "relative output gap")
    networks = table[table["source"] == "network"]
    _size_axis(axes, "depth", networks["depth"])
    for row, points in _lines(networks):
        mark = _mark(row)
        mine = table[(table["series"] == row["series"])]
        limit = _fitted_number(mine, "output_gap_limit", "c∞ =")
        _draw_measured_and_fit(
            axes, _pick(mine, "output_gap"), "depth", mark, label=_join(_name(row), limit)
        )
        mean = _pick(points, "output_gap_mean")
        _draw_line(axes, mean, "depth", replace(mark, filled=False, dash=":"))
    _closed_form(axes, table[table["source"] == "closed_form"], "depth", "closed form")


def _first_step_panel(axes: Axes, table: pd.DataFrame) -> None:
    _linear_y(axes, "−Δf / (η χ)")
    _size_axis(axes, "depth", table["depth"])
    shades = {"hidden": "black", "input": "#707070", "output": "#8C8C8C"}
    for series, points in table.groupby("series"):
        part, _, coupling = series.partition(", ")
        points = points.sort_values("depth")
        colour = shades.get(part, INK)
        dash = DASHES.get(coupling, "-.")
        axes.plot(points["depth"], points["estimate"], color=colour, linestyle=dash, linewidth=1.0)
        _end_label(axes, points["depth"].iloc[-1], points["estimate"].iloc[-1], series, colour)


def _loss_gap_panel(axes: Axes, table: pd.DataFrame) -> None:
    gaps, limits = _pick(table, "loss_gap"), _pick(table, "loss_gap_limit")

    def label(row: pd.Series) -> str:
        mine = limits[limits["series"] == row["series"]]
        return _join(_name(row), _fitted_number(mine, "loss_gap_limit", "c∞ ="))

    _sizes_panel(axes, gaps, "relative loss gap", "depth", log=False, labels=label)
    _reference(axes, 0.0)


@_figure
def scaling_trend(table: pd.DataFrame) -> list[Row]:
    """Loss against width, depth and compute (claim C1)."""
    depth, width = _ramp(table, "depth"), _ramp(table, "width")
    final = _measured(table, "final_train_loss")
    keys = [*_ramp_keys(width, "width"), *_ramp_keys(depth, "depth"), *_limit_keys(final)]
    return [
        Row(_scaling_curves(table, width, depth), keys),
        Row(_per_parametrization(final, "width", "depth", depth), share_y=True),
        Row(_per_parametrization(final, "depth", "width", width), share_y=True),
        Row(_gain_panels(table), _line_keys(final[final["source"] == "network"])),
    ]


def _main_series(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the parametrization listed first: Depth-μP wherever it was run."""
    for row, _ in _lines(table[table["source"] == "network"]):
        return table[table["parametrization"] == row["parametrization"]]
    return table


def _scaling_curves(table: pd.DataFrame, width: Mapping, depth: Mapping) -> list[Panel]:
    """Training curves of one parametrization by width and by depth, and loss against compute."""
    curves = _main_series(_measured(table, "train_loss"))
    networks = curves[curves["source"] == "network"]
    deepest, widest = networks["depth"].max(), networks["width"].max()
    by_width = networks[networks["depth"] == deepest]
    by_depth = curves[(curves["width"] == widest) | (curves["source"] == "limit")]
    name = _name(networks.iloc[0]) if len(networks) else ""
    draw = partial(_steps_panel, label="training loss")
    return [
        Panel(f"{name}, L = {deepest:g}", by_width, partial(draw, size="width", ramp=width)),
        Panel(f"{name}, n = {widest:g}", by_depth, partial(draw, size="depth", ramp=depth)),
        Panel("all networks", _compute(table), _compute_panel),
    ]


def _compute(table: pd.DataFrame) -> pd.DataFrame:
    """Final training losses with the training operations of the same network in ``flops``."""
    shape = ["series", "width", "depth"]
    losses = _measured(table, "final_train_loss", source="network")
    operations = _measured(table, "flops", source="network")[[*shape, "estimate"]]
    return losses.merge(operations.rename(columns={"estimate": "flops"}), on=shape)


def _compute_panel(axes: Axes, table: pd.DataFrame) -> None:
    _log_y(axes, "final training loss")
    axes.set_xscale("log")
    axes.set_xlabel("training compute (flop)")
    for row, points in _lines(table):
        _draw_line(axes, points, "flops", _mark(row), join=False)


def _per_parametrization(table: pd.DataFrame, x: str, by: str, ramp: Mapping) -> list[Panel]:
    """Final losses over one size, coloured by the other; one panel per parametrization."""
    panels = []
    for row, _ in _lines(table[table["source"] == "network"]):
        part = table[table["parametrization"] == row["parametrization"]]
        draw = partial(_ramp_panel, label="final training loss", x=x, by=by, ramp=ramp)
        panels.append(Panel(_name(row), part, draw))
    return panels


def _gain_panels(table: pd.DataFrame) -> list[Panel]:
    panels = []
    for size in ("width", "depth"):
        gains = _measured(table, f"train_loss_gain_{size}")
        panels.append(
            Panel(f"loss removed by doubling the {size}", gains, partial(_gain_panel, size=size))
        )
    accuracy = _measured(table, "final_test_accuracy", source="network")
    widest = accuracy[accuracy["width"] == accuracy["width"].max()]
    draw = partial(_sizes_panel, label="test accuracy", x="depth", log=False)
    return [*panels, Panel(f"test accuracy, n = {widest['width'].max():g}", widest, draw)]


def _gain_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    _sizes_panel(axes, table, "fraction removed", size, log=False)
    _reference(axes, 0.0)


@_figure
def diminishing_returns(table: pd.DataFrame) -> list[Row]:
    """How fast the gains of width and depth shrink (claim C2)."""
    depth, width = _ramp(table, "depth"), _ramp(table, "width")
    losses = _main_series(_pick(table, "final_train_loss"))
    excess = _main_series(_pick(table, "excess_train_loss"))
    over_width = partial(_ramp_panel, x="width", by="depth", ramp=depth)
    over_depth = partial(_ramp_panel, x="depth", by="width", ramp=width)
    name = _name(losses.iloc[0]) if len(losses) else ""
    loss, above = "final training loss", "excess training loss"
    fitted = table[table["source"] == "fit"]
    limits = _pick(table, "limit_loss")
    limits = limits.assign(quantity=limits["source"])
    exponents = {"width_exponent": "α (width)", "depth_exponent": "β (depth)"}
    declines = {"gain_decline_width": "width", "gain_decline_depth": "depth"}
    return [
        Row(
            [
                Panel(f"{name}: loss over width", losses, partial(over_width, label=loss)),
                Panel(f"{name}: above the limit", excess, partial(over_width, label=above)),
            ],
            [*_ramp_keys(depth, "depth"), *_fit_keys(losses), *_limit_keys(losses)],
        ),
        Row(
            [
                Panel(f"{name}: loss over depth", losses, partial(over_depth, label=loss)),
                Panel(f"{name}: above the limit", excess, partial(over_depth, label=above)),
            ],
            _ramp_keys(width, "width"),
        ),
        Row(
            [
                _dots("exponents of the fit", fitted, "exponent", exponents),
                _dots("limiting loss", limits, "loss", {"fit": "fit", "limit": "simulated"}),
                _dots("decline of the gain", fitted, "loss per doubling", declines, (0.0,)),
            ],
            _line_keys(fitted[fitted["quantity"].isin(exponents)]),
        ),
    ]


def _fit_keys(table: pd.DataFrame) -> list[Line2D]:
    fits = (table["source"] == "fit").any()
    return [_key("fit", Mark(), marker=False)] if fits else []


def _dots(
    title: str,
    table: pd.DataFrame,
    label: str,
    groups: Mapping[str, str],
    references: Sequence[float] = (),
) -> Panel:
    rows = table[table["quantity"].isin(groups)]
    return Panel(
        title, rows, partial(_dots_panel, label=label, groups=groups, references=references)
    )


@_figure
def limit_convergence(table: pd.DataFrame) -> list[Row]:
    """Finite networks against NFD and against the coupled limit (claim C3)."""
    depth = _ramp(_measured(table, "bias_over_width"), "depth")
    to_nfd = table[table["series"].isin(("standard to NFD", "decoupled to NFD"))]
    to_coupled = table[table["series"] == "standard to coupled limit"]
    bias = partial(_bias_panel, label="error against the limit")
    noise = partial(_fluctuation_panel, label="fluctuation over seeds")
    losses = _measured(table, "train_loss")
    ramp = _ramp(losses, "depth")
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
                    _measured(to_nfd, "fluctuation_over_width"),
                    partial(noise, x="width", ramp=depth),
                ),
            ],
            [*_ramp_keys(depth, "depth"), *_coupling_keys(table), *_floor_keys(table)],
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
                    _measured(to_nfd, "fluctuation_over_depth"),
                    partial(noise, x="depth"),
                ),
            ],
            [*_network_keys(to_nfd), *_limit_keys(_measured(table, "bias_over_depth"))],
            share_y=True,
        ),
        Row(_limit_losses(losses, ramp), [*_ramp_keys(ramp, "depth"), *_loss_keys(losses)]),
    ]


def _errors(table: pd.DataFrame, size: str) -> pd.DataFrame:
    names = [f"bias_over_{size}", f"bias_over_{size}_floor", f"bias_over_{size}_slope"]
    return table[table["quantity"].isin(names)]


def _floor_keys(table: pd.DataFrame) -> list[Line2D]:
    floors = table["quantity"].str.endswith("_floor").any()
    return [_key("noise floor", Mark(FAINT, ":"), marker=False)] if floors else []


def _network_keys(table: pd.DataFrame) -> list[Line2D]:
    """Networks of one parametrization by coupling, in its colour."""
    networks = table[table["source"] == "network"]
    names = {"standard": "standard networks", "decoupled": "decoupled networks"}
    rows = networks.drop_duplicates("coupling").set_index("coupling", drop=False)
    return [_key(names[c], _mark(rows.loc[c])) for c in names if c in rows.index]


def _bias_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, ramp: Mapping | None = None
) -> None:
    """Errors over a size with their fits and noise floors; colour by depth if there is a ramp."""
    _log_y(axes, label)
    quantity = f"bias_over_{x}"
    _size_axis(axes, x, table.loc[table["source"] != "fit", x])
    networks = _pick(table, quantity)
    by = ["series", "depth"] if ramp else ["series"]
    for _, points in networks[networks["source"] != "limit"].groupby(by):
        first = points.iloc[0]
        colour = ramp.get(first["depth"], INK) if ramp else _colour(first)
        mark = replace(_mark(first), marker="o", colour=colour)
        _draw_measured_and_fit(axes, points, x, mark)
    for _, points in _pick(table, quantity, source="limit").groupby("series"):
        _draw_line(axes, points, x, replace(_mark(points.iloc[0]), colour=INK))
    floors = _usable(_pick(table, f"{quantity}_floor"))
    for keys, points in floors.groupby([*by, "source"]):
        colour = ramp.get(keys[1], FAINT) if ramp else FAINT
        points = points.sort_values(x)
        axes.plot(
            points[x], points["estimate"], color=colour, linestyle=":", linewidth=0.8, alpha=0.7
        )
    _note(axes, _slopes_note(table, f"{quantity}_slope"))


def _slopes_note(table: pd.DataFrame, quantity: str) -> str:
    """The fitted slopes of a panel with few of them; of many, their range."""
    rows = _usable(_pick(table, quantity, source="fit"))
    if rows.empty:
        return ""
    if len(rows) == 1:
        return f"slope {_interval_text(rows.iloc[0])}"
    ends = (rows["estimate"].min(), rows["estimate"].max())
    low, high = (f"{value:.2f}".replace("-", "−") for value in ends)
    return f"slopes {low} to {high}"


def _fluctuation_panel(
    axes: Axes, table: pd.DataFrame, label: str, x: str, ramp: Mapping | None = None
) -> None:
    _log_y(axes, label)
    _size_axis(axes, x, table[x])
    by = ["series", "step", "depth"] if ramp else ["series", "step"]
    for _, points in table.groupby(by):
        first = points.iloc[0]
        colour = ramp.get(first["depth"], INK) if ramp else _colour(first)
        mark = replace(_mark(first), colour=colour, filled=first["step"] > 0)
        _draw_line(axes, points, x, mark)


def _limit_losses(losses: pd.DataFrame, ramp: Mapping) -> list[Panel]:
    """Training curves beside those of the limit, and the last losses over depth."""
    draw = partial(_steps_panel, label="training loss", size="depth", ramp=ramp)
    last = losses[losses["step"] == losses["step"].max()]
    return [
        Panel("decoupled networks and NFD", losses[losses["coupling"] == "decoupled"], draw),
        Panel(
            "standard networks and coupled limit", losses[losses["coupling"] == "standard"], draw
        ),
        Panel("after the last step", last, _last_losses_panel),
    ]


def _last_losses_panel(axes: Axes, table: pd.DataFrame) -> None:
    _log_y(axes, "training loss")
    _size_axis(axes, "depth", table["depth"])
    for _, points in table.groupby(["coupling", "source"]):
        first = points.iloc[0]
        colour = INK if first["source"] == "limit" else _colour(first)
        _draw_line(axes, points, "depth", replace(_mark(first), colour=colour))


def _loss_keys(losses: pd.DataFrame) -> list[Line2D]:
    limits = (losses["source"] == "limit").any()
    return [_key("limit", Mark(INK, ":", "D", filled=False))] if limits else []


@_figure
def vanishing_mechanism(table: pd.DataFrame) -> list[Row]:
    """The coupling of W with its transpose that training creates, over depth (claim C5)."""
    ramp = _ramp(table, "depth")
    quantities = {"coupling_layer": "per layer", "coupling_accumulated": "summed"}
    sides = {"standard": "standard", "decoupled": "decoupled"}
    curves, created = [], []
    for quantity, name in quantities.items():
        for coupling, side in sides.items():
            rows = _measured(table, quantity, coupling=coupling)
            draw = partial(_steps_panel, label="coupling (rms)", size="depth", ramp=ramp)
            curves.append(Panel(f"{name}, {side}", rows, draw))
        rows = table[table["quantity"].str.startswith(f"{quantity}_created")]
        draw = partial(_created_panel, quantity=f"{quantity}_created")
        created.append(Panel(f"created by training, {name}", rows, draw))
    coupling = _measured(table, "coupling_layer")
    return [
        Row(curves, [*_ramp_keys(ramp, "depth"), *_loss_keys(coupling)], share_y=True),
        Row(
            created,
            [*_network_keys(table), *_limit_keys(coupling), *_floor_keys(table)],
            height=2.1,
        ),
    ]


def _created_panel(axes: Axes, table: pd.DataFrame, quantity: str) -> None:
    """What training added to the coupling, with its slope in depth and the value at step 0 (dotted)."""
    _log_y(axes, "created coupling (rms)")
    measured = _measured(table, quantity)
    _size_axis(axes, "depth", measured["depth"])
    names = {("network", "standard"): "standard", ("network", "decoupled"): "decoupled"}
    names |= {("limit", coupling): name for coupling, name in LIMIT_NAMES.items()}
    for (source, coupling), points in measured.groupby(["source", "coupling"], sort=False):
        first = points.iloc[0]
        limit = source == "limit"
        mark = replace(_mark(first), colour=INK if limit else _colour(first))
        series = first["series"] + (", limit" if limit else "")
        mine = table[table["series"] == series]
        slope = _fitted_number(mine, f"{quantity}_slope", "slope")
        fit = _pick(mine, quantity, source="fit")
        both = pd.concat([points, fit])
        label = _join(names.get((source, coupling), series), slope)
        _draw_measured_and_fit(axes, both, "depth", mark, label=label)
    floors = _usable(_pick(table, f"{quantity}_floor"))
    for _, points in floors.groupby(["source", "coupling"]):
        points = points.sort_values("depth")
        axes.plot(points["depth"], points["estimate"], color=FAINT, linestyle=":", linewidth=0.8)


@_figure
def coupling_at_init(table: pd.DataFrame) -> list[Row]:
    """The coupling at initialisation over width and depth (claim C6)."""
    ramp = _ramp(table, "depth")
    quantities = {"coupling_layer": "per layer", "coupling_accumulated": "summed over depth"}
    over_width, widest, slopes = [], [], {}
    for quantity, name in quantities.items():
        rows = table[table["source"].isin(("network", "fit"))]
        rows = _usable(_pick(rows, quantity))
        draw = partial(_ramp_panel, label="coupling (rms)", x="width", by="depth", ramp=ramp)
        over_width.append(Panel(f"{name}, over width", rows, draw))
        networks = _measured(table, quantity, source="network")
        widest.append(networks[networks["width"] == networks["width"].max()])
        slopes[f"{quantity}_square_slope"] = name
    over_depth = pd.concat([*widest, table[table["quantity"].str.endswith("_depth_slope")]])
    exponents = table[table["quantity"].isin(slopes)]
    return [
        Row(over_width, [*_ramp_keys(ramp, "depth"), *_fit_keys(table), *_coupling_keys(table)]),
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
    _log_y(axes, "coupling (rms)")
    _size_axis(axes, "depth", table.loc[table["source"] == "network", "depth"])
    shapes = {"coupling_layer": ("per layer", True), "coupling_accumulated": ("summed", False)}
    for quantity, (name, filled) in shapes.items():
        for row, points in _lines(_pick(table, quantity)):
            mine = table[table["series"] == row["series"]]
            slope = _fitted_number(mine, f"{quantity}_depth_slope", "slope")
            mark = replace(_mark(row), filled=filled)
            _draw_line(axes, points, "depth", mark, label=_join(name, slope))


def _initial_slopes_panel(axes: Axes, table: pd.DataFrame, names: Mapping[str, str]) -> None:
    _linear_y(axes, "exponent")
    _size_axis(axes, "depth", table["depth"])
    _reference(axes, -1.0)
    for place, (quantity, name) in enumerate(names.items()):
        for row, points in _lines(_pick(table, quantity)):
            mark = replace(_mark(row), filled=place == 0)
            _draw_line(axes, points, "depth", mark, label=name)


@_figure
def kernel_spectrum(table: pd.DataFrame) -> list[Row]:
    """The least eigenvalue of the feature covariance during training (claim C13)."""
    width, depth = _ramp(table, "width"), _ramp(table, "depth")
    label = "least eigenvalue"
    steps, minima, ratios = [], [], []
    eigenvalues = _measured(table, "kernel_min_eigenvalue")
    shared = _deepest_shared(eigenvalues)
    for coupling, side in (("standard", "standard"), ("decoupled", "decoupled")):
        rows = eigenvalues[(eigenvalues["coupling"] == coupling) & (eigenvalues["depth"] == shared)]
        draw = partial(_steps_panel, label=label, size="width", ramp=width)
        steps.append(Panel(f"{side}, L = {shared:g}", rows, draw))
        over_width = partial(_ramp_panel, x="width", by="depth", ramp=depth)
        least = _measured(table, "kernel_minimum", coupling=coupling)
        minima.append(Panel(f"{side}: least over steps", least, partial(over_width, label=label)))
        ratio = _measured(table, "kernel_ratio", coupling=coupling)
        draw = partial(_ratio_panel, draw=partial(over_width, label="ratio", log=False))
        ratios.append(Panel(f"{side}: least / initial", ratio, draw))
    keys = _loss_keys(eigenvalues)
    return [
        Row(steps, [*_ramp_keys(width, "width"), *keys], share_y=True),
        Row(minima, [*_ramp_keys(depth, "depth"), *_limit_keys(table)], share_y=True),
        Row(ratios, share_y=True),
    ]


def _ratio_panel(axes: Axes, table: pd.DataFrame, draw: Draw) -> None:
    """From zero, the value that must not be reached."""
    draw(axes, table)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    _reference(axes, 1.0)


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


OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}


def _transfer(table: pd.DataFrame, size: str) -> list[Row]:
    """Loss against learning rate for every network; below, best rate and regret over the size."""
    table = _widest_other(table, size)
    ramp = _ramp(_pick(table, "final_train_loss"), size)
    optimizers = [name for name in OPTIMIZERS if (table["optimizer"] == name).any()]
    rows = []
    for optimizer in optimizers:
        rows += _loss_curve_rows(table[table["optimizer"] == optimizer], optimizer, size, ramp)
    if rows:
        rows[0] = replace(rows[0], legend=_transfer_keys(table, size, ramp))
    for optimizer in optimizers:
        rows += _transfer_summaries(table[table["optimizer"] == optimizer], optimizer, size)
    return rows


def _widest_other(table: pd.DataFrame, size: str) -> pd.DataFrame:
    """Transfer over one size is drawn at the largest value of the other."""
    other = "width" if size == "depth" else "depth"
    return table[table[other].isna() | (table[other] == table[other].max())]


def _transfer_keys(table: pd.DataFrame, size: str, ramp: Mapping[float, str]) -> list[Line2D]:
    keys = _ramp_keys(ramp, size)
    keys.append(_key("best of the grid", Mark(INK, marker="*"), line=False))
    if len(_pick(table, "diverged_runs")):
        keys.append(_key("next rate diverges", Mark(INK, ":"), marker=False))
    return keys


def _loss_curve_rows(
    table: pd.DataFrame, optimizer: str, size: str, ramp: Mapping[float, str]
) -> list[Row]:
    """Small panels of loss against learning rate, at most four in a row."""
    losses = _pick(table, "final_train_loss", source="network")
    lost, best = _pick(table, "diverged_runs"), _pick(table, "best_train_loss", source="network")
    panels = []
    for row, part in _lines(losses):
        mine = [part, *(rows[rows["series"] == row["series"]] for rows in (lost, best))]
        draw = partial(_rates_panel, size=size, ramp=ramp)
        panels.append(Panel(f"{_short_name(row)}, {OPTIMIZERS[optimizer]}", pd.concat(mine), draw))
    across = 4 if len(panels) in (4, 7, 8) or len(panels) > 9 else 3
    rows = [panels[start : start + across] for start in range(0, len(panels), across)]
    return [Row(panels, height=1.75, share_y=True) for panels in rows]


def _short_name(row: pd.Series) -> str:
    """A line's name for the title of a small panel."""
    return _name(row).replace("corrected Depth-μP, p = ", "p = ")


def _rates_panel(axes: Axes, table: pd.DataFrame, size: str, ramp: Mapping[float, str]) -> None:
    """Final training loss against learning rate; triangles where a run diverged, stars at the best."""
    losses = _pick(table, "final_train_loss")
    _log_y(axes, "final training loss")
    _size_axis(axes, "learning_rate", losses["learning_rate"])
    for value, points in losses.groupby(size):
        mark = Mark(ramp[value], marker="o")
        _draw_line(axes, points, "learning_rate", mark)
        best = _usable(_pick(table, "best_train_loss", **{size: value}))
        axes.plot(
            best["learning_rate"], best["estimate"], "*", color=ramp[value], markersize=7,
            markeredgecolor="white", markeredgewidth=0.4, zorder=5,
        )  # fmt: skip
        _rise(axes, points.sort_values("learning_rate"), ramp[value])
    _note(axes, _diverged_note(table))


def _rise(axes: Axes, points: pd.DataFrame, colour: str) -> None:
    """From every stable rate followed by a diverging one, a dotted line out of the panel."""
    rates, losses = points["learning_rate"].to_numpy(), points["estimate"].to_numpy()
    ends = [i for i in range(len(rates) - 1) if np.isfinite(losses[i]) > np.isfinite(losses[i + 1])]
    rises = [((rates[i], losses[i]), (rates[i + 1], 1e3 * losses[i])) for i in ends]
    axes.add_collection(
        LineCollection(rises, colors=colour, linestyles=":", linewidths=0.9), autolim=False
    )


def _transfer_summaries(table: pd.DataFrame, optimizer: str, size: str) -> list[Row]:
    """Best rate and regret over the size; controls, if there are any, in a row of their own."""
    control = table.apply(_is_control, axis=1) | (table["coupling"] == "decoupled")
    groups = [(table[~control], "")]
    if control.any():
        corrected = table["parametrization"] == "depth_mup_corrected"
        groups.append((table[control | corrected], ", controls"))
    rows = []
    for part, suffix in groups:
        title = OPTIMIZERS[optimizer] + suffix
        best = part[part["quantity"].isin(("best_learning_rate", "drift"))]
        regret = _pick(part, "regret")
        panels = [
            Panel(f"best learning rate, {title}", best, partial(_best_rate_panel, size=size)),
            Panel(f"regret of transferring, {title}", regret, partial(_regret_panel, size=size)),
        ]
        rows.append(Row(panels, height=2.0))
    return rows


def _best_rate_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    """Best rates with the line fitted to them; hollow where the optimum lies at the grid's edge."""
    best = _pick(table, "best_learning_rate")
    axes.set_yscale("log", base=2)
    axes.set_ylabel("best learning rate")
    _size_axis(axes, size, best[size])
    for row, points in _lines(best):
        mine = _pick(table, "drift", series=row["series"])
        label = _join(_short_name(row), _fitted_number(mine, "drift", "drift"))
        edge = points[(points["source"] == "network") & points["estimate"].isna()]
        if len(points) == len(edge):
            label += "\nno optimum inside the grid"
        at_edge = edge.assign(estimate=edge["learning_rate"], ci_low=np.nan, ci_high=np.nan)
        mark = _mark(row)
        _draw_line(axes, at_edge, size, replace(mark, filled=False), join=False, label=label)
        _draw_measured_and_fit(axes, points, size, mark, label="" if len(at_edge) else label)
    _rate_ticks(axes)


def _rate_ticks(axes: Axes) -> None:
    """Whole powers of two that lie in view."""
    low, high = np.log2(axes.get_ylim())
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    stride = max(1, int(np.ceil(len(powers) / 6)))
    ticks = [2.0**power for power in powers[::stride]]
    _fix_ticks(axes, "y", ticks, [_power_of_two(tick) for tick in ticks])


def _regret_panel(axes: Axes, table: pd.DataFrame, size: str) -> None:
    """Loss at the smallest network's best rate over the own best; triangles where it diverges."""
    _log_y(axes, "loss / best loss")
    _size_axis(axes, size, table[size])
    shift = ["estimate", "ci_low", "ci_high"]
    for row, points in _lines(table):
        infinite = points[np.isinf(points["estimate"])]
        ratio = points.assign(**{name: points[name] + 1 for name in shift})
        mark = _mark(row)
        _draw_line(axes, ratio, size, mark, label=_short_name(row))
        _edge_marks(axes, infinite[size], mark.colour)
    _reference(axes, 1.0)
    _note(axes, "▲ diverges at the transferred rate" if np.isinf(table["estimate"]).any() else "")


@_figure
def correction_exponent(table: pd.DataFrame) -> list[Row]:
    """The correction's exponent p: first-step change of the output, and transfer (claim C11)."""
    names = ("first_step_output_change", "first_step_output_change_slope")
    change = table[table["quantity"].isin(names)]
    drift = _pick(table, "drift")
    panels = [
        Panel("change of the output in the first step", change, _first_change_panel),
        Panel("drift of the best learning rate", drift, _drift_panel),
    ]
    return [*_transfer(table, "depth"), Row(panels, height=2.0)]


def _first_change_panel(axes: Axes, table: pd.DataFrame) -> None:
    def label(row: pd.Series) -> str:
        slope = _pick(table, "first_step_output_change_slope", series=row["series"])
        return _join(
            _short_name(row), _fitted_number(slope, "first_step_output_change_slope", "slope")
        )

    change = _pick(table, "first_step_output_change")
    _sizes_panel(axes, change, "output change (rms)", "depth", labels=label)


def _drift_panel(axes: Axes, table: pd.DataFrame) -> None:
    _linear_y(axes, "log₂ rate per log₂ depth")
    for row, points in _lines(table):
        _draw_line(axes, points, "correction", _mark(row))
    exponents = np.sort(table["correction"].unique())
    _fix_ticks(axes, "x", exponents, [_exponent_text(value) for value in exponents])
    axes.set_xlabel("exponent p of the correction")
    axes.margins(x=0.15)
    _reference(axes, 0.0)


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
            changes = _usable(_pick(final, f"{kind}_change_{layer}"))
            draw = partial(_sizes_panel, label="rms change", x="depth")
            panels.append(Panel(f"{name}: {title}", changes, draw))
        rows.append(Row(panels, _line_keys(measured) if layer == 1 else []))
    output = _usable(_pick(table, "output_change"))
    first = output["step"].min()
    slopes = {
        f"{kind}_change_{layer}_slope": f"{name} {kind}"
        for layer, name in layers.items()
        for kind in kinds
    } | {"output_change_slope": "output"}
    draw = partial(_sizes_panel, label="rms change", x="depth")
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
    train = _measured(table, "best_train_loss")
    test = _measured(table, "best_test_loss")
    advantage = table[table["quantity"].isin(("advantage", "advantage_mean"))]
    gain = table[table["quantity"].str.startswith("train_loss_gain_depth")]
    loss = partial(_sizes_panel, x="depth", labels=_name)
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
        mine = _pick(table, f"{quantity}_mean", series=row["series"])
        return _join(_name(row), _fitted_number(mine, f"{quantity}_mean", "mean"))

    _sizes_panel(axes, _pick(table, quantity), label, "depth", log=False, labels=name)
    _reference(axes, 0.0)


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
