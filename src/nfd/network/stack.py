"""A stack of residual networks of one shape: forward and backward pass (docs/theory.md, section 1).

All members of a stack share width, depth and activation and are computed at once; member m may have
its own parametrization, seed, coupling and learning rates. A weight is held in *effective* form, its
N(0, 1) entries times the forward multiplier (and, for the last matrix of a block, times the branch
factor), so that a block is one fused matrix product. By the equivalence rule of docs/theory.md,
section 2 (multiplier m/t, std t, SGD rate x t^2, Adam rate x t) this changes nothing but the rates,
which :mod:`nfd.training.optimizers` converts.

The backward pass is written out rather than left to autograd, because the *decoupled* network is not
the gradient of any function: its hidden weights are replaced, in the backward pass only, by an
independent copy of the initial ones plus the same learned change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import COUPLINGS, Architecture
from nfd.network.parametrization import Scales
from nfd.network.roles import Role
from nfd.seeds import generator


def initial_weight(
    root_seed: int, seed: int, role: Role, layer: int, shape: tuple[int, int], copy: str = "forward"
) -> np.ndarray:
    """N(0, 1) entries (float32) of one matrix; depends on nothing but the names given.

    ``copy`` is 'forward', or 'backward' for the independent copy a decoupled network uses.
    """
    rng = generator(root_seed, "weights", seed, role, layer, copy)
    return rng.standard_normal(shape, dtype=np.float32)


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
        self.activation = ACTIVATIONS[architecture.activation]
        self.scales, self.seeds, self.couplings = list(scales), list(seeds), list(couplings)
        self.root_seed, self.device, self.dtype = root_seed, torch.device(device), dtype
        self.weights = {
            role: [self._initial(role, layer) for layer in range(count)]
            for role, count, _ in architecture.layout()
        }
        self.backward_copy = {
            role: [
                self.initial(role, layer, range(self.standard, self.members), copy="backward")
                for layer in range(architecture.depth)
            ]
            for role in architecture.hidden_roles
        }

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
        shape = next(shape for name, _, shape in self.architecture.layout() if name == role)
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

    def add_product(self, role: Role, layer: int, error: Tensor, feature: Tensor) -> None:
        """Add ``error^T @ feature`` per member, to the backward copy of decoupled members as well."""
        change = error.transpose(1, 2)
        self.weights[role][layer].baddbmm_(change, feature)
        s = self.standard
        if role in self.backward_copy and s < self.members:
            self.backward_copy[role][layer].baddbmm_(change[s:], feature[s:])

    def add(self, role: Role, layer: int, change: Tensor) -> None:
        """Add ``change`` (members, out, in), to the backward copy of decoupled members as well."""
        self.weights[role][layer].add_(change)
        if role in self.backward_copy:
            self.backward_copy[role][layer].add_(change[self.standard :])

    def shrink(self, role: Role, layer: int, factor: Tensor) -> None:
        """Multiply by ``factor`` (members, 1, 1); a backward copy by its own member's.

        So the backward copy stays an independent initial part, as much shrunk, plus the learned change.
        """
        self.weights[role][layer].mul_(factor)
        if role in self.backward_copy:
            self.backward_copy[role][layer].mul_(factor[self.standard :])

    def column(self, values: Sequence[float]) -> Tensor:
        """One number per member, as (members, 1, 1)."""
        return torch.tensor(values, dtype=self.dtype, device=self.device).view(-1, 1, 1)

    def forward(self, x: Tensor, trace: "Trace | None" = None) -> Tensor:
        """Outputs f (members, batch, C) for inputs (members, batch, d); fills ``trace`` if given."""
        a, weights, activation = self.architecture, self.weights, self.activation
        h = torch.bmm(x, weights["input"][0].transpose(1, 2))
        scratch = torch.empty_like(h)
        for layer in range(a.depth):
            phi = scratch if trace is None else trace.phi[layer]
            inside = h
            if trace is not None and trace.stream is not None:
                trace.stream[layer].copy_(h)
            if a.block_layers == 2:
                inside = phi if trace is None or trace.inside is None else trace.inside[layer]
                torch.bmm(h, weights["hidden_1"][layer].transpose(1, 2), out=inside)
            activation.value(inside, phi)
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
            t = self._times_derivative(self.times_backward(g, "hidden_2", layer), trace, layer)
            visit(LayerGradient("hidden_2", layer, g, phi))
            if a.block_layers == 2:
                below = self.times_backward(t, "hidden_1", layer)
                visit(LayerGradient("hidden_1", layer, t, trace.entering(layer)))
                t = below
            g = g.add_(t) if a.skip else t
        visit(LayerGradient("input", 0, g, trace.inputs))

    def _times_derivative(self, g: Tensor, trace: "Trace", layer: int) -> Tensor:
        """``g`` times phi' of a block, in place."""
        if self.activation.times_derivative is not None:
            return self.activation.times_derivative(g, trace.phi[layer])
        return g.mul_(self.activation.derivative(trace.inside_of(layer)))


class Trace:
    """Features of one forward pass, kept for the backward pass and the probes.

    ``phi[layer]`` (members, batch, n) is what a block's last matrix multiplies; ``stream[layer]`` is
    h_{l-1} and ``inside[layer]`` the argument of phi, each kept where the backward pass needs it: the
    former for two-layer blocks, the latter if phi' is not known from phi. In a one-layer block the two
    are the same. ``final`` is h_L, ``inputs`` the inputs.
    """

    inputs: Tensor
    final: Tensor

    def __init__(self, stack: Stack, batch: int) -> None:
        a = stack.architecture
        shape = (a.depth, stack.members, batch, a.width)
        self.phi = torch.empty(shape, dtype=stack.dtype, device=stack.device)
        needs_inside = stack.activation.times_derivative is None
        two_layers = a.block_layers == 2
        self.stream = torch.empty_like(self.phi) if two_layers or needs_inside else None
        self.inside = self.stream
        if two_layers:
            self.inside = torch.empty_like(self.phi) if needs_inside else None

    def entering(self, layer: int) -> Tensor:
        """h_{l-1} of a two-layer block."""
        assert self.stream is not None
        return self.stream[layer]

    def inside_of(self, layer: int) -> Tensor:
        """The argument of phi, where phi' is not known from phi."""
        assert self.inside is not None
        return self.inside[layer]
