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
            batch=True,
        ),
        Figure(
            "response_by_layer",
            "One small step: which layer answers differently, and at which T",
            (
                "response_by_layer",
                "response_at_small_horizon",
                "response_at_large_horizon",
                "response_of_tanh",
            ),
            outputs=True,
            batch=True,
        ),
    ),
    (
        Claim(
            "C4",
            "gia-restored",
            "Standard and decoupled training agree as depth grows under depth_mup, not for mup with or "
            "without skips.",
            ("gia_restoration", "response_by_layer"),
        ),
    ),
)
