"""Shape of a network: its matrices, weights and operations (no torch, so that jobs can ask it too)."""

from collections.abc import Iterator
from dataclasses import dataclass

from nfd.choices import check_choice
from nfd.network import roles
from nfd.network.activations import ACTIVATIONS
from nfd.network.parametrization import Scales
from nfd.network.roles import Role


def block_weights(*, width: int, depth: int, block_layers: int = 1) -> int:
    """Weights of all blocks, which outnumber those of the other layers."""
    return depth * block_layers * width**2


def training_bytes(
    *,
    width: int,
    depth: int,
    block_layers: int = 1,
    samples: int,
    copies: int = 1,
    itemsize: int = 4,
) -> int:
    """Memory of one network in training: ``copies`` of its block weights, and the features of ``samples``."""
    weights = block_weights(width=width, depth=depth, block_layers=block_layers)
    return itemsize * (copies * weights + depth * block_layers * samples * width)


@dataclass(frozen=True)
class Architecture:
    """Shape of a network: d = ``input_dim``, C = ``outputs``, n = ``width``, L = ``depth`` blocks.

    ``block_layers`` is 1 or 2; ``skip=False`` gives the 'vanilla' network without identity path,
    which has one-layer blocks; ``activation`` names a record of :data:`nfd.network.activations.ACTIVATIONS`;
    ``horizon`` is T, the range of the time l/L. Raises ValueError naming the field at fault.
    """

    input_dim: int
    outputs: int
    width: int
    depth: int
    block_layers: int = 1
    skip: bool = True
    activation: str = "relu"
    horizon: float = 1.0

    def __post_init__(self) -> None:
        for name in ("input_dim", "outputs", "width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not a positive number")
        if self.block_layers not in (1, 2):
            raise ValueError(f"block_layers: {self.block_layers} is not 1 or 2")
        if not self.skip and self.block_layers != 1:
            raise ValueError("skip: a network without skips has one-layer blocks (block_layers 1)")
        check_choice("activation", self.activation, ACTIVATIONS)
        if not self.horizon > 0:
            raise ValueError(f"horizon: {self.horizon} is not a positive number")

    @property
    def hidden_roles(self) -> tuple[Role, ...]:
        """Roles of a block's matrices, first to last."""
        return roles.hidden_roles(self.block_layers)

    def layout(self) -> Iterator[tuple[Role, int, tuple[int, int]]]:
        """All matrices, first to last: (role, number of layers, shape (out, in) of one)."""
        yield "input", 1, (self.width, self.input_dim)
        for role in self.hidden_roles:
            yield role, self.depth, (self.width, self.width)
        yield "output", 1, (self.outputs, self.width)

    @property
    def parameters(self) -> int:
        """Number of weights of one network."""
        return sum(count * out * into for _, count, (out, into) in self.layout())

    def training_flops(self, batch_size: int) -> int:
        """Floating-point operations of one training step: forward, backward and weight gradients."""
        no_input_gradient = self.width * self.input_dim
        return 2 * batch_size * (3 * self.parameters - no_input_gradient)

    def branch_factor(self, scales: Scales) -> float:
        """What multiplies a block's output; without skips, the activation's gain."""
        return scales.branch if self.skip else ACTIVATIONS[self.activation].gain

    def multiplier(self, role: Role, scales: Scales) -> float:
        """Effective multiplier of a role's N(0, 1) weights, the branch factor included."""
        factor = self.branch_factor(scales) if role == "hidden_2" else 1.0
        return factor * scales[role].multiplier
