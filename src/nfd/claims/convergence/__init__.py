"""Finite networks against Neural Feature Dynamics and against the coupled limit."""

from nfd.claims.family import Claim, Family, Figure

FAMILY = Family(
    __name__,
    (
        Figure(
            "limit_convergence",
            "Finite networks against the two limits",
            ("limit_convergence",),
            outputs=True,
        ),
    ),
    (
        Claim(
            "C3",
            "limit-convergence",
            "Finite networks converge to NFD: O(1/L) in depth, O(1/n) in width at initialisation.",
            ("limit_convergence",),
        ),
    ),
)
