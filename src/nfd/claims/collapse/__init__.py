"""Two-layer blocks: where the learned change goes, and what the corrected learning rate buys."""

from nfd.claims.family import Claim, Family, Figure

FAMILY = Family(
    __name__,
    (
        Figure(
            "internal_collapse",
            "Where the learned change of a two-layer block goes",
            ("internal_collapse",),
        ),
        Figure("correction_exponent", "The correction's exponent p", ("correction_exponent",)),
        Figure(
            "deeper_is_better", "Best loss against depth, two-layer blocks", ("depth_transfer_2",)
        ),
    ),
    (
        Claim(
            "C9",
            "internal-collapse",
            "Two-layer blocks under depth_mup: the learned change of the first internal layer falls "
            "as L^-1/2.",
            ("internal_collapse",),
        ),
        Claim(
            "C11",
            "correction-restores",
            "The corrected learning rate keeps the first internal layer's change O(1) and restores transfer.",
            ("internal_collapse", "depth_transfer_2", "correction_exponent"),
        ),
        Claim(
            "C12",
            "deeper-is-better",
            "With the correction deeper networks reach a lower loss than depth_mup's, each at its own best "
            "learning rate.",
            ("deeper_is_better", "depth_transfer_2"),
        ),
    ),
)
