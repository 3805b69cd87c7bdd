"""A stack of residual networks of one shape: forward and backward pass (docs/theory.md, section 1).

All members of a stack share width, depth and activation and are computed at once; member m may have
its own parametrization, seed, coupling and learning rates. A weight is held in *effective* form, its
N(0, 1) entries times the forward multiplier (and, for the last matrix of a block, times the branch
factor), so that a block is one fused matrix product. By the equivalence rule of docs/theory.md,
section 2 (multiplier m/t, std t, SGD rate x t^2, Adam rate x t) this changes nothing but the rates,
which :mod:`nfd.training` converts.

The backward pass is written out rather than left to autograd, because the *decoupled* network is not
the gradient of any function: its hidden weights are replaced, in the backward pass only, by an
independent copy of the initial ones plus the same learned change.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from nfd.parametrization import Role, Scales
from nfd.seeds import generator

ACTIVATIONS = ("relu", "tanh", "linear")
COUPLINGS = ("standard", "decoupled")


@dataclass(frozen=True)
class Architecture:
    """Shape of a network: d = ``input_dim``, C = ``outputs``, n = ``width``, L = ``depth`` blocks.

    ``block_layers`` is 1 or 2; ``skip=False`` gives the 'vanilla' network without identity path,
    which has one-layer blocks; ``horizon`` is T, the range of the time l/L. Raises ValueError naming
    the field at fault.
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
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation: {self.activation!r} is not one of {ACTIVATIONS}")
        if not self.horizon > 0:
            raise ValueError(f"horizon: {self.horizon} is not a positive number")

    @property
    def hidden_roles(self) -> tuple[Role, ...]:
        """Roles of a block's matrices, first to last."""
        return ("hidden_1", "hidden_2") if self.block_layers == 2 else ("hidden_2",)

    @property
    def parameters(self) -> int:
        """Number of weights of one network."""
        hidden = self.depth * self.block_layers * self.width**2
        return self.width * self.input_dim + hidden + self.outputs * self.width

    def training_flops(self, batch_size: int) -> int:
        """Floating-point operations of one training step: forward, backward and weight gradients."""
        no_input_gradient = self.width * self.input_dim
        return 2 * batch_size * (3 * self.parameters - no_input_gradient)

    def branch_factor(self, scales: Scales) -> float:
        """What multiplies a block's output; without skips, the gain that keeps the scale of h."""
        if self.skip:
            return scales.branch
        return sqrt(2.0) if self.activation == "relu" else 1.0

    def multiplier(self, role: Role, scales: Scales) -> float:
        """Effective multiplier of a role's N(0, 1) weights, the branch factor included."""
        factor = self.branch_factor(scales) if role == "hidden_2" else 1.0
        return factor * scales[role].multiplier


def initial_weight(
    root_seed: int, seed: int, role: Role, layer: int, shape: tuple[int, int], copy: str = "forward"
) -> np.ndarray:
    """N(0, 1) entries (float32) of one matrix; depends on nothing but the names given.

    ``copy`` is 'forward', or 'backward' for the independent copy a decoupled network uses.
    """
    rng = generator(root_seed, "weights", seed, role, layer, copy)
    return rng.standard_normal(shape, dtype=np.float32)


def _apply(activation: str, x: Tensor, out: Tensor) -> Tensor:
    if activation == "relu":
        return torch.clamp(x, min=0, out=out)
    if activation == "tanh":
        return torch.tanh(x, out=out)
    return out.copy_(x)


def _times_derivative(activation: str, g: Tensor, phi: Tensor) -> Tensor:
    """``g`` times phi'(x), in place, from the activation's value ``phi`` = phi(x)."""
    if activation == "relu":
        return torch.ops.aten.threshold_backward.grad_input(g, phi, 0, grad_input=g)
    if activation == "tanh":
        return g.addcmul_(g * phi, phi, value=-1)
    return g


@dataclass(frozen=True)
class LayerGradient:
    """What a backward pass yields for one matrix: the weight's gradient is ``error^T @ feature``.

    ``error`` is (members, batch, out), ``feature`` (members, batch, in); ``layer`` counts blocks from
    0 and is 0 for the input and output layers. Both tensors are reused by the next layer.
    """

    role: Role
    layer: int
    error: Tensor
    feature: Tensor


class Stack:
    """Weights of ``len(seeds)`` networks of one architecture, and their forward and backward pass.

    Decoupled members must come last. ``weights[role][layer]`` is (members, out, in) in effective
    form; ``backward_copy[role][layer]`` holds the decoupled members' backward weights.
    """

    def __init__(
        self,
        architecture: Architecture,
        scales: Sequence[Scales],
        seeds: Sequence[int],
        couplings: Sequence[str],
        *,
        root_seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if list(couplings) != sorted(couplings, key=COUPLINGS.index):
            raise ValueError("couplings: decoupled members must come after the standard ones")
        self.architecture = architecture
        self.scales, self.seeds, self.couplings = list(scales), list(seeds), list(couplings)
        self.root_seed, self.device, self.dtype = root_seed, torch.device(device), dtype
        self.weights = {
            role: [self._initial(role, layer) for layer in range(count)]
            for role, count, _ in self._layout()
        }
        self.backward_copy = {
            role: [
                self.initial(role, layer, range(self.standard, self.members), copy="backward")
                for layer in range(architecture.depth)
            ]
            for role in architecture.hidden_roles
        }

    def _layout(self) -> Iterator[tuple[Role, int, tuple[int, int]]]:
        """(role, number of layers, shape of one matrix)."""
        a = self.architecture
        yield "input", 1, (a.width, a.input_dim)
        for role in a.hidden_roles:
            yield role, a.depth, (a.width, a.width)
        yield "output", 1, (a.outputs, a.width)

    @property
    def members(self) -> int:
        return len(self.seeds)

    @property
    def standard(self) -> int:
        """Number of members with standard coupling; the rest is decoupled."""
        return self.couplings.count("standard")

    def _initial(self, role: Role, layer: int) -> Tensor:
        return self.initial(role, layer, range(self.members))

    def initial(
        self, role: Role, layer: int, members: Sequence[int], copy: str = "forward"
    ) -> Tensor:
        """Effective weights (len(members), out, in) of one layer at step 0, drawn afresh by name."""
        shape = next(shape for name, _, shape in self._layout() if name == role)
        weights = torch.empty(len(members), *shape, dtype=self.dtype, device=self.device)
        drawn: dict[int, Tensor] = {}
        for slot, member in enumerate(members):
            seed = self.seeds[member]
            if seed not in drawn:
                entries = initial_weight(self.root_seed, seed, role, layer, shape, copy)
                drawn[seed] = torch.from_numpy(entries).to(self.device, self.dtype)
            multiplier = self.architecture.multiplier(role, self.scales[member])
            torch.mul(drawn[seed], multiplier, out=weights[slot])
        return weights

    def keep(self, members: Sequence[int]) -> None:
        """Drop all members but these (in order); the others' numbers do not change."""
        index = torch.tensor(members, dtype=torch.long, device=self.device)
        decoupled = index[index >= self.standard] - self.standard
        for layers in self.weights.values():
            layers[:] = [weight.index_select(0, index) for weight in layers]
        for layers in self.backward_copy.values():
            layers[:] = [weight.index_select(0, decoupled) for weight in layers]
        self.scales = [self.scales[m] for m in members]
        self.seeds = [self.seeds[m] for m in members]
        self.couplings = [self.couplings[m] for m in members]

    def times_backward(self, g: Tensor, role: Role, layer: int) -> Tensor:
        """``g`` (members, batch, out) times the weights as the backward pass sees them."""
        s = self.standard
        if s == self.members:
            return torch.bmm(g, self.weights[role][layer])
        t = torch.empty(
            *g.shape[:2], self.weights[role][layer].shape[2], dtype=g.dtype, device=g.device
        )
        if s:
            torch.bmm(g[:s], self.weights[role][layer][:s], out=t[:s])
        torch.bmm(g[s:], self.backward_copy[role][layer], out=t[s:])
        return t

    def add_to_weight(self, role: Role, layer: int, error: Tensor, feature: Tensor) -> None:
        """Add ``error^T @ feature`` per member, to the backward copy of decoupled members as well."""
        change = error.transpose(1, 2)
        self.weights[role][layer].baddbmm_(change, feature)
        s = self.standard
        if role in self.backward_copy and s < self.members:
            self.backward_copy[role][layer].baddbmm_(change[s:], feature[s:])

    def forward(self, x: Tensor, trace: "Trace | None" = None) -> Tensor:
        """Outputs f (members, batch, C) for inputs (members, batch, d); fills ``trace`` if given."""
        a, weights = self.architecture, self.weights
        h = torch.bmm(x, weights["input"][0].transpose(1, 2))
        scratch = torch.empty_like(h)
        for layer in range(a.depth):
            phi = scratch if trace is None else trace.phi[layer]
            if a.block_layers == 2:
                if trace is not None:
                    trace.stream[layer].copy_(h)
                torch.bmm(h, weights["hidden_1"][layer].transpose(1, 2), out=phi)
                _apply(a.activation, phi, out=phi)
            else:
                _apply(a.activation, h, out=phi)
            into = weights["hidden_2"][layer].transpose(1, 2)
            if a.skip:
                h.baddbmm_(phi, into)
            else:
                torch.bmm(phi, into, out=h)
        if trace is not None:
            trace.inputs, trace.final = x, h
        return torch.bmm(h, weights["output"][0].transpose(1, 2))

    def backward(
        self,
        chi: Tensor,
        trace: "Trace",
        visit: Callable[[LayerGradient], None],
    ) -> None:
        """Backward pass from chi = d loss / d f (members, batch, C), last layer first.

        ``visit`` receives each layer's :class:`LayerGradient` once the weights below it have been
        used, so it may update that layer's weights in place.
        """
        a = self.architecture
        g = torch.bmm(chi, self.weights["output"][0])
        visit(LayerGradient("output", 0, chi, trace.final))
        for layer in reversed(range(a.depth)):
            phi = trace.phi[layer]
            t = _times_derivative(a.activation, self.times_backward(g, "hidden_2", layer), phi)
            visit(LayerGradient("hidden_2", layer, g, phi))
            if a.block_layers == 2:
                below = self.times_backward(t, "hidden_1", layer)
                visit(LayerGradient("hidden_1", layer, t, trace.stream[layer]))
                t = below
            g = g.add_(t) if a.skip else t
        visit(LayerGradient("input", 0, g, trace.inputs))


class Trace:
    """Features of one forward pass, kept for the backward pass and the probes.

    ``phi[layer]`` (members, batch, n) is what a block's last matrix multiplies; ``stream[layer]`` is
    h_{l-1}, kept for two-layer blocks only; ``final`` is h_L, ``inputs`` the inputs.
    """

    inputs: Tensor
    final: Tensor

    def __init__(self, stack: Stack, batch: int) -> None:
        a = stack.architecture
        shape = (a.depth, stack.members, batch, a.width)
        self.phi = torch.empty(shape, dtype=stack.dtype, device=stack.device)
        self.stream = torch.empty_like(self.phi) if a.block_layers == 2 else None
