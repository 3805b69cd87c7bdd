"""Does the best learning rate transfer over depth (C7, C10) and over width (C8)?"""

from nfd.claims.rates import (
    CORRECTED,
    DOES_NOT_TRANSFER,
    drift_control,
    other_lines,
    transfer_findings,
)
from nfd.claims.rules import POSITIVE, Finding, Frames, gated, within
from nfd.claims.two_layers import W1_ALONE, freezing_costs, w1_alone
from nfd.evidence.table import pick

# SGD on W1 alone depends on eta L^p only, so that its drift at p = 0 is that at p = 1/2 plus 1/2 exactly. The
# bounds lie halfway between the diagnosis' +1/2 and coherent reuse's 0, and as far on the other side.
AS_DIAGNOSED = within(0.25, 0.75, "W1's own change must be of order one, which predicts +1/2")


def depth_transfer_1(frames: Frames) -> list[Finding]:
    """One-layer blocks under depth_mup, over depth (C7)."""
    figure = "depth_transfer"
    control = drift_control(frames, figure, "depth", "mup", POSITIVE)
    drift, *listed = transfer_findings(frames, figure, "depth", "depth_mup", decides=True)
    return [
        gated(drift, [control]),
        *listed,
        control,
        *other_lines(frames, figure, "depth", [("depth_mup", "sgd")]),
    ]


def width_transfer(frames: Frames) -> list[Finding]:
    """depth_mup and mup must transfer over width, the standard parametrization must not (C8)."""
    figure, axis = "width_transfer", "width"
    control = drift_control(frames, figure, axis, "standard", POSITIVE)
    findings = []
    for series in ("depth_mup", "mup"):
        drift, *listed = transfer_findings(frames, figure, axis, series, decides=True)
        findings += [gated(drift, [control]), *listed]
    findings += transfer_findings(
        frames, figure, axis, "standard", rule=DOES_NOT_TRANSFER, decides=True
    )
    findings.append(control)
    if len(pick(frames[figure], "drift", series="standard", optimizer="adam")):
        findings += transfer_findings(
            frames, figure, axis, "standard", "adam", rule=DOES_NOT_TRANSFER
        )
    done = [("depth_mup", "sgd"), ("mup", "sgd"), ("standard", "sgd"), ("standard", "adam")]
    return findings + other_lines(frames, figure, axis, done)


def transfer_fails_2(frames: Frames) -> list[Finding]:
    """Two-layer blocks under depth_mup, over depth: must not transfer (C10)."""
    figure = "depth_transfer_2"
    controls = [
        freezing_costs(frames),
        drift_control(frames, figure, "depth", W1_ALONE, POSITIVE),
    ]
    drift, *listed = transfer_findings(
        frames, figure, "depth", "depth_mup", rule=DOES_NOT_TRANSFER, decides=True
    )
    findings = [gated(drift, controls), *listed, *controls, _w1_alone_uncorrected(frames)]
    if len(pick(frames[figure], "drift", series="depth_mup", optimizer="adam")):
        findings += transfer_findings(
            frames, figure, "depth", "depth_mup", "adam", rule=DOES_NOT_TRANSFER
        )
    # The corrected network's findings are C11's.
    done = [("depth_mup", "sgd"), ("depth_mup", "adam"), (CORRECTED, "sgd")]
    return findings + other_lines(frames, figure, "depth", done)


def _w1_alone_uncorrected(frames: Frames) -> Finding:
    """W1 trained alone with p = 0, from the runs with p = 1/2."""
    return w1_alone(
        frames, AS_DIAGNOSED, "W1 trained alone, p = 0: best learning rate over depth", 0.5
    )
