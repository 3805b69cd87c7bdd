"""Labels at the ends of lines, kept clear of one another."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text

from nfd.drawing.style import ink

END_LABEL = "end label"
LABEL_PLACE = 1.03  # of the panel's width


def end_label(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """A label right of the panel at the height of (x, y); :func:`spread_labels` moves it clear."""
    axes.annotate(
        text,
        xy=(x, y),
        xytext=(LABEL_PLACE, y),
        textcoords=axes.get_yaxis_transform(),
        color=ink(colour),
        fontsize=6.5,
        linespacing=1.1,
        va="center",
        ha="left",
        gid=END_LABEL,
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


def end_labels(axes: Axes) -> list[Annotation]:
    """The labels that :func:`end_label` wrote."""
    return [
        text for text in axes.texts if isinstance(text, Annotation) and text.get_gid() == END_LABEL
    ]


def place_labels(axes: Axes) -> None:
    """Put each label beside its line, now that the panel's limits are known; also from infinity."""
    for label in end_labels(axes):
        low, high = axes.get_ylim()
        label.xy = label.xy[0], min(max(label.xy[1], low), high)
        label.set_position((LABEL_PLACE, label.xy[1]))


def spread_labels(axes: Axes) -> None:
    """Move the labels at line ends up or down, as little as possible, until none touch."""
    labels = end_labels(axes)
    if not labels:
        return
    labels.sort(key=lambda label: _pixel(axes, label.xy[1]))
    heights = np.array([_text_height(label) for label in labels])
    wanted = np.array([_pixel(axes, label.xy[1]) for label in labels])
    bottom, top = axes.bbox.y0, axes.bbox.y1
    for label, y in zip(labels, spread(wanted, heights, bottom, top), strict=True):
        label.set_position((LABEL_PLACE, axes.transData.inverted().transform((0, y))[1]))


def _pixel(axes: Axes, y: float) -> float:
    return float(axes.transData.transform((axes.get_xlim()[0], y))[1])


def _text_height(label: Annotation) -> float:
    return Text.get_window_extent(label).height + 1.0


def spread(wanted: np.ndarray, heights: np.ndarray, bottom: float, top: float) -> np.ndarray:
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
