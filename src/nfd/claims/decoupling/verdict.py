"""Does training look the same with independent backward weights (C4)?

Both methods approach the same labels, so that any gap falls with steps in the end whatever depth does. The
gap is therefore read early, where both still differ in state: after the first step, and where half of the
fall of the training loss is behind the standard networks, which compares networks at equal progress and
not at equal steps or rates. The claim has a verdict where both readings have the same. The last step is
listed.
"""

from dataclasses import dataclass, replace

import pandas as pd

from nfd.claims.rules import (
    AGREEMENT,
    NEGATIVE,
    POSITIVE,
    Finding,
    Frames,
    Rule,
    above,
    agreeing,
    below,
    diverged,
    finding,
    gated,
    notes,
    pick_row,
    within,
)
from nfd.evidence.table import pick

# One sample and a small first step give a gap of 0.2 (ReLU, T = 1), twice the threshold.
GAP_VANISHES = below(AGREEMENT**2, "no gap to speak of is left at large depth")
GAP_REMAINS = above(AGREEMENT**2, "a gap is left at large depth")
NO_GAP = within(-(AGREEMENT**2), AGREEMENT**2, "no gap")
GAP_AT_FINITE_DEPTH = above(AGREEMENT**2, "the assumption fails at finite depth")
LOSS_GAP_VANISHES = within(-AGREEMENT, AGREEMENT, "no loss gap to speak of is left at large depth")
SAME_RESPONSE = within(0.9, 1.1, "the outputs answer to the layer as with independent weights")
PRINTED_LAYERS = {
    "input": "the input layer",
    "hidden_2": "the hidden layers",
    "output": "the output layer",
}

TRAINING, RESPONSE = "gia_restoration", "response_by_layer"
JUDGED = "depth_mup"
OUTPUT_ONLY = "depth_mup, trained: output"
VANILLA = "mup, no skip"
FITTED = "c in (mean gap / mean change)^2 = c + b / L"
ABSENT = "three depths with both couplings and outputs"


@dataclass(frozen=True)
class _Reading:
    """When a gap is read: ``quantity`` of the evidence and, where it has several, its ``step``."""

    name: str
    quantity: str
    step: float | None = None

    def row(self, frame: pd.DataFrame, series: str) -> pd.Series | None:
        at = {} if self.step is None else {"step": self.step}
        line = {"series": series, "optimizer": "sgd", **at}
        return pick_row(frame, f"{self.quantity}_plateau", ("width",), **line)


def gia_restored(frames: Frames) -> list[Finding]:
    """Gaps between standard and decoupled training at infinite depth, and those of the controls (C4)."""
    frame = frames[TRAINING]
    steps = frame.loc[frame["quantity"] == "gap_square", "step"]
    first = _Reading("after the first step", "gap_square", steps.min())
    half = _Reading("at half progress", "gap_square_at_50")
    last = _Reading("after the last step", "gap_square", steps.max())
    readings = (first, half)
    no_skip = [_gap(frames, at, VANILLA, GAP_REMAINS, control=POSITIVE) for at in readings]
    output_only = [_gap(frames, at, OUTPUT_ONLY, NO_GAP, control=NEGATIVE) for at in readings]
    plain, fresh = (
        agreeing(
            [
                gated(_gap(frames, at, series, GAP_VANISHES, decides=decides), controls)
                for at, *controls in zip(readings, no_skip, output_only, strict=True)
            ],
            "first step and half progress",
        )
        for series, decides in ((JUDGED, True), (f"{JUDGED}, fresh copies", False))
    )
    single = _Reading("of single runs after the last step", "single_gap_square", last.step)
    return [
        *plain,
        *no_skip,
        *output_only,
        *fresh,
        _at_finite_depth(frames, first.step),
        _gap(frames, last, JUDGED, GAP_VANISHES),
        _gap(frames, last, f"{JUDGED}, fresh copies", GAP_VANISHES),
        _gap(frames, single, JUDGED, GAP_VANISHES),
        *(_gap(frames, at, "mup", GAP_REMAINS) for at in readings),
        _loss_gap(frames, last.step),
        _exact_gap(frames),
        *(_response(frames, role) for role in PRINTED_LAYERS),
    ]


def _gap(
    frames: Frames,
    reading: _Reading,
    series: str,
    rule: Rule,
    *,
    decides: bool = False,
    control: str = "",
) -> Finding:
    """The plateau over depth of one network's squared gap at one reading."""
    frame = frames[TRAINING]
    row = reading.row(frame, series)
    return finding(
        frames,
        TRAINING,
        row,
        rule,
        f"{'control ' if control else ''}{series}: output gap {reading.name}",
        FITTED,
        decides=decides,
        note="" if row is None else notes(_depths(frame, row), _lost(frame, row)),
        absent=ABSENT,
        control=control,
    )


def _depths(frame: pd.DataFrame, row: pd.Series) -> str:
    """The range of depths that a plateau was read from."""
    line = {"series": row["series"], "source": "network", "width": row["width"]}
    depths = pick(frame, row["quantity"].removesuffix("_plateau"), **line)["depth"]
    return f"from L = {depths.min():g} to {depths.max():g}"


def _lost(frame: pd.DataFrame, row: pd.Series) -> str:
    line = {name: row[name] for name in ("parametrization", "skip", "trainable")}
    return diverged(frame, **line)


def _at_finite_depth(frames: Frames, step: float | None) -> Finding:
    """The other half of the story, which no verdict rests on: that shallow networks do differ."""
    frame = frames[TRAINING]
    line = {"series": JUDGED, "source": "network", "optimizer": "sgd", "step": step}
    rows = pick(frame, "gap_square", **line).sort_values("depth")
    row = None if rows.empty else rows.iloc[0]
    where = "the least depth" if row is None else f"L = {row['depth']:g}"
    return finding(
        frames,
        TRAINING,
        row,
        GAP_AT_FINITE_DEPTH,
        f"{JUDGED}: output gap after the first step at the least depth",
        "(mean gap / mean change)^2",
        note=f"at {where}",
        absent="outputs of both couplings",
    )


def _loss_gap(frames: Frames, step: float | None) -> Finding:
    row = pick_row(
        frames[TRAINING], "loss_gap_plateau", ("width",), series=JUDGED, optimizer="sgd", step=step
    )
    return finding(
        frames,
        TRAINING,
        row,
        LOSS_GAP_VANISHES,
        f"{JUDGED}: loss gap after the last step",
        "c in gap / decrease = c + b / L",
        absent=ABSENT,
    )


def _exact_gap(frames: Frames) -> Finding:
    """The closed form at infinite width: exact, so it has no interval and no verdict."""
    frame = frames[TRAINING]
    row = pick_row(frame, "gap_square", ("depth",), source="closed_form", series=JUDGED)
    sample = pick_row(frame, "gap_square", ("depth",), source="closed_form", series="one sample")
    depth = "" if row is None else f"at L = {row['depth']:g}, exact, without seeds"
    one = "" if sample is None else f"one sample: {sample['estimate']:.3g}, qT / (2 + qT) squared"
    found = finding(
        frames,
        TRAINING,
        row,
        GAP_VANISHES,
        f"{JUDGED}: output gap of a small first step at infinite width",
        "(gap / change)^2 of the batch learned first, closed form",
        absent="the batch that was learned first",
    )
    if row is None:
        return found
    exact = float(row["estimate"])
    return replace(found, verdict=GAP_VANISHES.verdict(exact, exact), note=notes(depth, one))


def _response(frames: Frames, role: str) -> Finding:
    """What the outputs do when one kind of matrix is trained, with real over independent weights."""
    frame = frames[RESPONSE]
    series = f"{JUDGED}, trained: {role}"
    step = pick(frame, "response_ratio")["step"].min()
    line = {"series": series, "source": "network", "step": step}
    row = pick_row(frame, "response_ratio", ("depth",), **line)
    depth = None if row is None else row["depth"]
    exact = [
        f"{name} {found['estimate']:.3g}"
        for name, label in (("this batch", series), ("one sample", f"one sample: {role}"))
        if (
            found := pick_row(
                frame, "response_ratio", source="closed_form", series=label, depth=depth
            )
        )
        is not None
    ]
    return finding(
        frames,
        RESPONSE,
        row,
        SAME_RESPONSE,
        f"response to {PRINTED_LAYERS[role]} alone, standard over decoupled",
        "ratio of the output changes by the first step at the largest depth",
        note=notes(
            "" if depth is None else f"at L = {depth:g}",
            f"exact at infinite width: {', '.join(exact)}" if exact else "",
        ),
        absent="this layer trained alone with both couplings",
    )
