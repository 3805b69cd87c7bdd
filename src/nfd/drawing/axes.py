"""Axes: sizes and rates on binary logarithms, few readable ticks, labels."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from nfd.drawing.names import AXIS_LABELS

TICK_STEPS = (1, 2, 2.5, 5, 10)


def size_axis(axes: Axes, name: str, values: pd.Series) -> None:
    """A binary logarithmic x-axis with a tick at every size (or learning rate) that occurs."""
    values = np.sort(pd.Series(values).dropna().unique())
    axes.set_xscale("log", base=2)
    texts = rate_texts(values) if name == "learning_rate" else [f"{v:g}" for v in values]
    fix_ticks(axes, "x", values, texts)
    axes.set_xlabel(AXIS_LABELS[name])
    if len(values):
        margin = max(1.12, (values[-1] / values[0]) ** 0.05)
        axes.set_xlim(values[0] / margin, values[-1] * margin)


def fix_ticks(axes: Axes, which: str, values: Sequence[float], texts: Sequence[str]) -> None:
    """Ticks at exactly these values of the 'x' or 'y' axis."""
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


def rate_texts(values: Sequence[float]) -> list[str]:
    """Whole powers of two where the grid has at least two; decimals of all rates otherwise."""
    texts = [power_of_two(value) for value in values]
    return texts if sum(map(bool, texts)) > 1 else [f"{value:.3g}" for value in values]


def tick_text(value: float) -> str:
    """A tick of a logarithmic axis."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    lead = value / 10.0**power
    times = "" if abs(lead - 1) < 1e-6 else f"{lead:.3g}×"
    return f"{times}10" + str(power).translate(_SUPERSCRIPTS)


def log_ticks(low: float, high: float) -> list[float]:
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
    """A logarithmic y-axis."""
    axes.set_yscale("log")
    axes.set_ylabel(label)


def linear_y(axes: Axes, label: str) -> None:
    """A linear y-axis with few round ticks."""
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))


def step_axis(axes: Axes) -> None:
    """An x-axis of training steps."""
    axes.set_xlabel(AXIS_LABELS["step"])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.02)


def thin_ticks(axes: Axes) -> None:
    """Leave out labels until none touch: every second (third, ...) of fixed ones, or coarser linear ones."""
    for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if not axes.axison:
            continue
        locator = axis.get_major_locator()
        if isinstance(axis.get_major_formatter(), FixedFormatter):
            _thin_fixed(axes, axis, which)
        elif isinstance(locator, MaxNLocator) and which == "x":
            for ticks in range(5, 1, -1):
                locator.set_params(nbins=ticks)
                if not _touch(_spans(axis.get_ticklabels(), which)):
                    break


def _thin_fixed(axes: Axes, axis: Axis, which: str) -> None:
    """Empty the texts of a fixed axis but for every second (third, ...)."""
    ticks = list(axis.get_major_locator()())
    texts = list(cast(FixedFormatter, axis.get_major_formatter()).seq)
    labels = axis.get_ticklabels()
    if len(labels) < len(ticks):
        return  # written on a neighbour that shares this axis
    written = [place for place, text in enumerate(texts) if text]
    spans = _spans([labels[place] for place in written], which)
    stride = next(s for s in range(1, len(ticks) + 2) if not _touch(spans[::s]))
    kept = set(written[::stride])
    fix_ticks(axes, which, ticks, [t if i in kept else "" for i, t in enumerate(texts)])


def _spans(labels: Sequence[Text], which: str) -> list[tuple[float, float]]:
    """Where labels begin and end along their axis, in pixels, with a little space."""
    low, high = (0, 2) if which == "x" else (1, 3)
    boxes = [label.get_window_extent().extents for label in labels]
    return [(box[low] - 1.5, box[high] + 1.5) for box in boxes]


def _touch(spans: Sequence[tuple[float, float]]) -> bool:
    return any(one[1] > after[0] for one, after in pairwise(spans))
