"""Loss against width and depth: whether larger networks are better, how fast that ends, and where."""

from nfd.claims.family import Claim, Family, Figure

FAMILY = Family(
    __name__,
    (
        Figure("scaling_trend", "Loss against width, depth and compute", ("scaling",)),
        Figure("diminishing_returns", "How fast the gains shrink", ("scaling",)),
        Figure(
            "limit_training", "Networks and limits over a whole training run", ("limit_training",)
        ),
    ),
    (
        Claim(
            "C1",
            "scaling-trend",
            "Under depth_mup the loss improves with width and with depth.",
            ("scaling_trend",),
        ),
        Claim(
            "C2",
            "diminishing-returns",
            "The gain from a larger network shrinks as the loss approaches that of the limit.",
            ("diminishing_returns", "limit_training", "scaling_trend"),
        ),
    ),
)
