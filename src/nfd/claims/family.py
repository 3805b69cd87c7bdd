"""What a family of claims declares about itself: figures and claims, as data.

The Snakefile reads it to know what a target needs, so this imports nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure and the experiments it draws.

    ``evidence.py`` and ``figure.py`` of its family have a function of its name. ``outputs``: whether its
    evidence needs the tables of network outputs besides those of results; ``batch``: whether it draws closed
    forms of the first step, which need the samples that it learns.
    """

    name: str
    title: str
    experiments: tuple[str, ...]
    outputs: bool = False
    batch: bool = False


@dataclass(frozen=True)
class Claim:
    """A claim of the paper in our words, judged on the evidence of ``figures``.

    ``verdict.py`` of its family has a function of its name (``-`` as ``_``).
    """

    id: str
    name: str
    statement: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Figures and claims on one subject; ``package`` is the folder that holds them, as a module's name."""

    package: str
    figures: tuple[Figure, ...]
    claims: tuple[Claim, ...]
