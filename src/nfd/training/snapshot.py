"""What probes see of a stack in training."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from nfd.network.losses import Loss
from nfd.network.stack import Stack, Trace


@dataclass
class Snapshot:
    """A stack at one step, and the samples that probes look at.

    ``members``: which network stands in each slot; ``inputs`` (P, d), ``targets`` (P, C).
    """

    stack: Stack
    members: tuple[int, ...]
    inputs: Tensor
    targets: Tensor
    loss: Loss

    @cached_property
    def _passed(self) -> tuple[Tensor, Trace]:
        trace = Trace(self.stack, len(self.inputs))
        return self.stack.forward(self.inputs, trace), trace

    @property
    def outputs(self) -> Tensor:
        """f (members, P, C)."""
        return self._passed[0]

    @property
    def trace(self) -> Trace:
        """Features of the samples; the next snapshot has its own."""
        return self._passed[1]

    @property
    def chi(self) -> Tensor:
        """d loss / d f (members, P, C)."""
        return self.loss.value_and_chi(self.outputs, self.targets)[1]
