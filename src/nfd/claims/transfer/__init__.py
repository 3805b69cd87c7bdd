"""Whether the best learning rate of a small network serves a deeper or a wider one."""

from nfd.claims.family import Claim, Family, Figure

FAMILY = Family(
    __name__,
    (
        Figure(
            "depth_transfer",
            "Learning-rate transfer over depth, one-layer blocks",
            ("depth_transfer",),
        ),
        Figure("width_transfer", "Learning-rate transfer over width", ("width_transfer",)),
        Figure(
            "depth_transfer_2",
            "Learning-rate transfer over depth, two-layer blocks",
            ("depth_transfer_2",),
        ),
    ),
    (
        Claim(
            "C7",
            "depth-transfer-1",
            "One-layer blocks: the best learning rate transfers over depth under depth_mup.",
            ("depth_transfer",),
        ),
        Claim(
            "C8",
            "width-transfer",
            "The best learning rate transfers over width under mup-type scaling; under standard it does not.",
            ("width_transfer",),
        ),
        Claim(
            "C10",
            "transfer-fails-2",
            "Two-layer blocks: the best learning rate does not transfer over depth under depth_mup.",
            ("depth_transfer_2",),
        ),
    ),
)
