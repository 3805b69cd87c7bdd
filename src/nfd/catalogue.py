"""Which figure rests on which experiments, and which claim on which figure: data, nothing else.

The Snakefile reads it to know what a target needs, so it imports nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure: title, the experiments it draws, the claims it shows."""

    title: str
    experiments: tuple[str, ...]
    claims: tuple[str, ...]


FIGURES: dict[str, Figure] = {
    "gia_restoration": Figure(
        "Independent backward weights: does training look the same?", ("gia_restoration",), ("C4",)
    ),
    "scaling_trend": Figure("Loss against width, depth and compute", ("scaling",), ("C1",)),
    "diminishing_returns": Figure("How fast the gains shrink", ("scaling",), ("C2",)),
    "limit_convergence": Figure(
        "Finite networks against the two limits", ("limit_convergence",), ("C3",)
    ),
    "vanishing_mechanism": Figure(
        "The coupling that training creates, per layer and summed", ("limit_convergence",), ("C5",)
    ),
    "coupling_at_init": Figure("The coupling at initialisation", ("limit_convergence",), ("C6",)),
    "kernel_spectrum": Figure(
        "Least eigenvalue of the feature covariance", ("limit_convergence",), ("C13",)
    ),
    "depth_transfer": Figure(
        "Learning-rate transfer over depth, one-layer blocks", ("depth_transfer",), ("C7",)
    ),
    "width_transfer": Figure("Learning-rate transfer over width", ("width_transfer",), ("C8",)),
    "internal_collapse": Figure(
        "Where the learned change of a two-layer block goes", ("internal_collapse",), ("C9", "C11")
    ),
    "depth_transfer_2": Figure(
        "Learning-rate transfer over depth, two-layer blocks", ("depth_transfer_2",), ("C10", "C11")
    ),
    "deeper_is_better": Figure(
        "Best loss against depth, two-layer blocks", ("depth_transfer_2",), ("C12",)
    ),
    "correction_exponent": Figure(
        "The correction's exponent p", ("correction_exponent",), ("C11",)
    ),
}

EXPERIMENTS: tuple[str, ...] = tuple(
    dict.fromkeys(experiment for figure in FIGURES.values() for experiment in figure.experiments)
)
