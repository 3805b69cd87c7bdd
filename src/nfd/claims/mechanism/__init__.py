"""What convergence to NFD rests on: coupling that vanishes, and a kernel away from singular."""

from nfd.claims.family import Claim, Family, Figure

FAMILY = Family(
    __name__,
    (
        Figure(
            "vanishing_mechanism",
            "The coupling that training creates, per layer and summed",
            ("limit_convergence",),
        ),
        Figure("coupling_at_init", "The coupling at initialisation", ("limit_convergence",)),
        Figure(
            "kernel_spectrum",
            "Least eigenvalue of the feature covariance",
            ("gia_restoration", "limit_convergence"),
        ),
    ),
    (
        Claim(
            "C5",
            "vanishing-mechanism",
            "The coupling between a matrix and its transpose that training creates is of higher "
            "order in depth.",
            ("vanishing_mechanism",),
        ),
        Claim(
            "C6",
            "coupling-at-init",
            "At initialisation that coupling is O(1/n), uniformly in depth (a check of the construction).",
            ("coupling_at_init",),
        ),
        Claim(
            "C13",
            "nondegenerate",
            "The least eigenvalue of the feature covariance stays away from 0 during training.",
            ("kernel_spectrum",),
        ),
    ),
)
