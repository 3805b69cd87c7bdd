"""Does the best learning rate transfer over depth (C7, C10) and over width (C8)?"""

from nfd.claims.rates import CORRECTED, DOES_NOT_TRANSFER, other_lines, transfer_findings
from nfd.claims.rules import Finding, Frames
from nfd.evidence.table import pick


def depth_transfer_1(frames: Frames) -> list[Finding]:
    """One-layer blocks under depth_mup, over depth (C7)."""
    figure = "depth_transfer"
    return [
        *transfer_findings(frames, figure, "depth", "depth_mup", decides=True),
        *other_lines(frames, figure, "depth", [("depth_mup", "sgd")]),
    ]


def width_transfer(frames: Frames) -> list[Finding]:
    """depth_mup and mup must transfer over width, the standard parametrization must not (C8)."""
    figure, axis = "width_transfer", "width"
    findings = [
        *transfer_findings(frames, figure, axis, "depth_mup", decides=True),
        *transfer_findings(frames, figure, axis, "mup", decides=True),
        *transfer_findings(frames, figure, axis, "standard", rule=DOES_NOT_TRANSFER, decides=True),
    ]
    if len(pick(frames[figure], "drift", series="standard", optimizer="adam")):
        findings += transfer_findings(
            frames, figure, axis, "standard", "adam", rule=DOES_NOT_TRANSFER
        )
    done = [("depth_mup", "sgd"), ("mup", "sgd"), ("standard", "sgd"), ("standard", "adam")]
    return findings + other_lines(frames, figure, axis, done)


def transfer_fails_2(frames: Frames) -> list[Finding]:
    """Two-layer blocks under depth_mup, over depth: must not transfer (C10)."""
    figure = "depth_transfer_2"
    findings = transfer_findings(
        frames, figure, "depth", "depth_mup", rule=DOES_NOT_TRANSFER, decides=True
    )
    if len(pick(frames[figure], "drift", series="depth_mup", optimizer="adam")):
        findings += transfer_findings(
            frames, figure, "depth", "depth_mup", "adam", rule=DOES_NOT_TRANSFER
        )
    # The corrected network's findings are C11's.
    done = [("depth_mup", "sgd"), ("depth_mup", "adam"), (CORRECTED, "sgd")]
    return findings + other_lines(frames, figure, "depth", done)
