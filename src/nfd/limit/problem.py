"""What is trained, on what and how, apart from the width."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nfd.choices import check_choice
from nfd.network.architecture import Architecture
from nfd.network.couplings import LIMIT_COUPLINGS
from nfd.network.losses import LOSSES
from nfd.network.parametrization import FEATURE_LEARNING
from nfd.network.roles import Role
from nfd.training.batches import as_values


@dataclass(frozen=True, kw_only=True, eq=False)
class LimitProblem:
    """What is trained, on what and how, apart from the width.

    inputs (S, d); targets (S,) class ids or (S, C) values; batches (K, B) row numbers of ``inputs``,
    one row per SGD step (a sample may occur twice in a batch and then counts twice). Samples in no
    batch are test points. ``depth`` is the number L of blocks, ``horizon`` T. ``trainable`` names
    roles of :data:`nfd.network.roles.ROLES`; "hidden" stands for all hidden matrices.
    ``skip=False`` drops the identity and the branch factor (one-layer blocks only).

    Cost grows with the square of the number of vectors. At every step the batch passes forward and
    backward; at the ``observed_steps``, out of 0..K (default: all), so do the ``evaluated`` samples
    forward (default: all) and the ``probes`` among them backward too (default: all evaluated). What is
    followed, and when, changes the random numbers drawn, not the law: every product is conditioned on
    those before it, whichever they are.
    Raises ValueError naming the field at fault.
    """

    inputs: np.ndarray
    targets: np.ndarray
    batches: np.ndarray
    depth: int
    learning_rate: float
    horizon: float = 1.0
    activation: str = "relu"
    block_layers: int = 1
    skip: bool = True
    loss: str = "mse"
    parametrization: str = "depth_mup"
    correction: float = 0.5
    trainable: Sequence[str] = ("input", "hidden", "output")
    coupling: str = "standard"
    evaluated: Sequence[int] | None = None
    probes: Sequence[int] | None = None
    observed_steps: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name, kind in (("inputs", float), ("targets", None), ("batches", None)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        check_choice("loss", self.loss, LOSSES)
        check_choice("coupling", self.coupling, LIMIT_COUPLINGS)
        check_choice("parametrization", self.parametrization, FEATURE_LEARNING)
        if self.inputs.ndim != 2 or len(self.targets) != len(self.inputs):
            raise ValueError("inputs: need shape (S, d) with one target per row")
        if self.targets.ndim not in (1, 2):
            raise ValueError("targets: need (S,) class ids or (S, C) values")
        if self.batches.ndim != 2 or not self.batches.size or self.batches.dtype.kind not in "iu":
            raise ValueError("batches: need a non-empty (K, B) array of sample ids")
        self.architecture(width=1)  # checks the shape of the network
        for name in self.trainable:
            check_choice("trainable", name, ("input", "hidden", *self.hidden_roles, "output"))
        for name, ids in (("batches", self.batches), ("evaluated", self.evaluated_ids)):
            if ids.size and not (ids.min() >= 0 and ids.max() < len(self.inputs)):
                raise ValueError(f"{name}: sample ids must lie in 0..{len(self.inputs) - 1}")
        if not np.isin(self.probe_ids, self.evaluated_ids).all():
            raise ValueError("probes: every probe must be among the evaluated samples")
        for step in self.observed_steps or ():
            if step not in range(self.steps + 1):
                raise ValueError(f"observed_steps: {step} is not one of the steps 0..{self.steps}")

    @property
    def steps(self) -> int:
        """The number K of SGD steps."""
        return len(self.batches)

    @property
    def evaluated_ids(self) -> np.ndarray:
        """Ids of the samples evaluated at the observed steps."""
        everything = np.arange(len(self.inputs))
        return everything if self.evaluated is None else np.asarray(self.evaluated, dtype=int)

    @property
    def probe_ids(self) -> np.ndarray:
        """Ids of the probes, (P,)."""
        return self.evaluated_ids if self.probes is None else np.asarray(self.probes, dtype=int)

    def architecture(self, width: int) -> Architecture:
        """The network of this problem at a ``width``."""
        return Architecture(
            input_dim=self.inputs.shape[1],
            outputs=self.target_values.shape[1],
            width=width,
            depth=self.depth,
            block_layers=self.block_layers,
            skip=self.skip,
            activation=self.activation,
            horizon=self.horizon,
        )

    def batch_before(self, step: int) -> np.ndarray:
        """The batch of ``step``; after the last step, the last batch."""
        return self.batches[min(step, self.steps - 1)]

    def is_observed(self, step: int) -> bool:
        """Whether more than the batch is looked at before ``step``."""
        return self.observed_steps is None or step in self.observed_steps

    def forward_ids(self, step: int) -> np.ndarray:
        """Ids, sorted, of the samples passed forward at ``step``; none at an end nobody looks at."""
        if self.is_observed(step):
            return np.union1d(self.batch_before(step), self.evaluated_ids)
        return self._learned_at(step)

    def backward_ids(self, step: int) -> np.ndarray:
        """Ids, sorted, of the samples passed backward at ``step``; at the end no batch is left."""
        return np.union1d(self._learned_at(step), self.probed_ids(step))

    def probed_ids(self, step: int) -> np.ndarray:
        """Ids of the probes looked at before ``step``: all or none."""
        return self.probe_ids if self.is_observed(step) else self.probe_ids[:0]

    @cached_property
    def vectors(self) -> tuple[int, int]:
        """How many vectors a hidden matrix multiplies forward and backward, summed over the K + 1 passes."""
        steps = range(self.steps + 1)
        forward = sum(len(self.forward_ids(step)) for step in steps)
        return forward, sum(len(self.backward_ids(step)) for step in steps)

    def _learned_at(self, step: int) -> np.ndarray:
        """Ids, sorted and once each, of the samples that SGD step number ``step`` learns from."""
        return np.unique(self.batches[step : step + 1])

    @cached_property
    def target_values(self) -> np.ndarray:
        """Targets as (S, C) values; class ids become one-hot."""
        if self.targets.ndim == 2:
            return self.targets.astype(float)
        return as_values(self.targets, self.targets.max() + 1)

    @property
    def hidden_roles(self) -> tuple[Role, ...]:
        """Roles of the hidden matrices of a block, first to last."""
        return self.architecture(width=1).hidden_roles

    @property
    def trained_roles(self) -> frozenset[str]:
        """``trainable`` with "hidden" spelled out."""
        hidden = self.hidden_roles if "hidden" in self.trainable else ()
        return frozenset({*self.trainable, *hidden} - {"hidden"})
