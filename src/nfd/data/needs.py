"""Whether there is data enough: what the experiments ask of the prepared data, and what is missing.

A batch cannot be larger than the training set it is drawn from, and the samples that are evaluated or
probed must be there. (Of the training samples as many are evaluated as there are, up to
``evaluation_size``: a small training set is seen whole.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nfd.data.raw import SPLITS


@dataclass(frozen=True)
class Need:
    """The setting ``key`` asks for at least ``size`` samples of a split."""

    key: str
    split: str
    size: int


def needs_of(
    where: str,
    *,
    batch_size: int,
    train_size: int | None,
    evaluation_size: int,
    probe_size: int,
    probed: bool,
) -> list[Need]:
    """What one experiment, or one job of it, needs; ``where`` stands before the keys."""
    needs = [
        Need(f"{where}.batch_size", "train", batch_size),
        Need(f"{where}.train_size", "train", train_size or 0),
        Need(f"{where}.evaluation_size", "test", evaluation_size),
        Need(f"{where}.probe_size", "test", probe_size if probed else 0),
    ]
    return [need for need in needs if need.size]


def needs_of_all(config: Mapping[str, Any]) -> list[Need]:
    """What all experiments of a checked configuration need."""
    return [
        need
        for name, settings in config["experiments"].items()
        for need in needs_of(
            f"experiments.{name}",
            batch_size=settings["batch_size"],
            train_size=settings["train_size"],
            evaluation_size=settings["evaluation_size"],
            probe_size=settings["probe_size"],
            probed=bool(settings["probes"]) or settings["limit"] is not None,
        )
    ]


def shortage(needs: Iterable[Need], sizes: Mapping[str, int], name: str) -> str:
    """One sentence on what the data set ``name``, with ``sizes`` by split, lacks; empty if nothing."""
    needs = list(needs)
    told = []
    for split in SPLITS:
        unmet = [need for need in needs if need.split == split and need.size > sizes[split]]
        if unmet:
            worst = max(unmet, key=lambda need: need.size)
            more = len(unmet) - 1
            others = f" (and so in {more} other place{'s' * (more > 1)})" if more else ""
            told.append(
                f"{worst.key}: {worst.size} is more than the {sizes[split]} {split} samples of "
                f"{name}{others}"
            )
    return f"{'; '.join(told)}; lower it, there or in defaults, or add samples" if told else ""
