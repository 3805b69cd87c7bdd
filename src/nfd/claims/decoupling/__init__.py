"""Training with independent backward weights against ordinary training."""

from nfd.claims.family import Claim, Family, Figure

FAMILY = Family(
    __name__,
    (
        Figure(
            "gia_restoration",
            "Independent backward weights: does training look the same?",
            ("gia_restoration",),
            outputs=True,
        ),
    ),
    (
        Claim(
            "C4",
            "gia-restored",
            "Standard and decoupled training agree as depth grows under depth_mup, not for mup with or "
            "without skips.",
            ("gia_restoration",),
        ),
    ),
)
