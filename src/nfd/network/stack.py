"""A stack of residual networks of one shape: forward and backward pass (docs/theory.md, section 1).

All members of a stack share width, depth and activation and are computed at once; member m may have
its own parametrization, seed, coupling and learning rates. A weight is held in *effective* form, its
N(0, 1) entries times the forward multiplier (and, for the last matrix of a block, times the branch
factor), so that a block is one fused matrix product. By the equivalence rule of docs/theory.md,
section 2 (multiplier m/t, std t, SGD rate x t^2, Adam rate x t) this changes nothing but the rates,
which :mod:`nfd.training.optimizers` converts.

The backward pass is written out rather than left to autograd, because the *decoupled* network is not
the gradient of any function: its hidden weights are replaced, in the backward pass only, by an
independent copy of the initial ones plus the same learned change. Its relatives (a copy drawn afresh at
every step, a third copy for W1's own gradient) are those of :mod:`nfd.network.couplings`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nfd.network import products
from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import Architecture
from nfd.network.couplings import COUPLINGS, stacking_order
from nfd.network.parametrization import Scales
from nfd.network.roles import Role
from nfd.seeds import generator


def initial_weight(
    root_seed: int,
    seed: int,
    role: Role,
    layer: int,
    shape: tuple[int, int],
    copy: str = "forward",
    step: int | None = None,
    *,
    nested: bool = False,
) -> np.ndarray:
    """N(0, 1) entries (float32) of one matrix; depends on nothing but the names given.

    ``copy`` is 'forward', or 'backward' for the independent copy a decoupled network uses, with its
    ``step`` if there is one for each; 'third' is the copy through which W1 gets a gradient of its own.
    A ``nested`` matrix is the corner of all larger ones of its name, so that networks of one seed are
    alike at all widths, as far as they reach, and what width adds is seen against less noise.
    """
    names = ("weights", seed, role, layer, copy, *(() if step is None else (step,)))
    if not nested:
        return generator(root_seed, *names).standard_normal(shape, dtype=np.float32)
    rows = (generator(root_seed, *names, "row", row) for row in range(shape[0]))
    return np.stack([rng.standard_normal(shape[1], dtype=np.float32) for rng in rows])


@dataclass(frozen=True)
class LayerGradient:
    """What a backward pass yields for one matrix: the weight's gradient is ``error^T @ feature``.

    ``error`` is (members, batch, out), ``feature`` (members, batch, in); ``layer`` counts blocks from
    0 and is 0 for the input and output layers. Both tensors are reused by the next layer. With
    ``groups``, ``feature`` is (groups, batch, in), and ``groups[i]`` consecutive members share feature[i].
    """

    role: Role
    layer: int
    error: Tensor
    feature: Tensor
    groups: tuple[int, ...] | None = None

    def sum_over_batch(self) -> Tensor:
        """The weight's gradient (members, out, in)."""
        error, x = self.error, self.feature
        slope = error.new_zeros(*error.shape[::2], x.shape[2])
        products.add_outer(slope, error, x, self.groups)
        return slope


class Stack:
    """Weights of ``len(seeds)`` networks of one architecture, and their forward and backward pass.

    Members stand in the order of COUPLINGS. ``weights[role][layer]`` is (members, out, in) in effective
    form. ``backward_copy[role][layer]`` holds the backward weights of all members but the standard ones;
    of those with fresh copies it holds the learned change only, and the copy of the present ``step`` is
    drawn when it is used. ``third_copy`` holds the W2 through which the last members' W1 learns.
    """

    def __init__(
        self,
        architecture: Architecture,
        scales: Sequence[Scales],
        seeds: Sequence[int],
        couplings: Sequence[str],
        *,
        root_seed: int = 0,
        nested: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if list(couplings) != sorted(couplings, key=stacking_order):
            raise ValueError(f"couplings: members must stand in the order {', '.join(COUPLINGS)}")
        for name in couplings:
            if architecture.block_layers not in COUPLINGS[name].block_layers:
                raise ValueError(
                    f"coupling: '{name}' is defined for two-layer blocks (block_layers 2)"
                )
        self.architecture = architecture
        self.activation = ACTIVATIONS[architecture.activation]
        self.scales, self.seeds, self.couplings = list(scales), list(seeds), list(couplings)
        self.root_seed, self.nested = root_seed, nested
        self.device, self.dtype = torch.device(device), dtype
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
        for layers in self.backward_copy.values():
            for copy in layers:
                copy[self._fresh_copies].zero_()
        self.third_copy = self._third_copies()
        self.step = 0
        # What weight decay has left of the initial weights, which a fresh copy has to share.
        self.left_of_initial = {
            role: [self.column([1.0] * self.members) for _ in range(architecture.depth)]
            for role in (architecture.hidden_roles if self._fresh else ())
        }

    def _third_copies(self) -> dict[Role, list[Tensor]]:
        if not self._third:
            return {}
        members = range(self.members - self._third, self.members)
        depth = self.architecture.depth
        layers = [self.initial("hidden_2", k, members, copy="third") for k in range(depth)]
        return {"hidden_2": layers}

    @property
    def members(self) -> int:
        return len(self.seeds)

    @property
    def standard(self) -> int:
        """Number of members with standard coupling; the rest has backward weights of its own."""
        return self.couplings.count("standard")

    @property
    def _fresh(self) -> int:
        return self.couplings.count("fresh")

    @property
    def _third(self) -> int:
        return self.couplings.count("third")

    @property
    def _fresh_copies(self) -> slice:
        """Places of the members with fresh copies in ``backward_copy``."""
        first = self.couplings.count("decoupled")
        return slice(first, first + self._fresh)

    def _copies(self) -> list[tuple[dict[Role, list[Tensor]], int]]:
        """Each kind of copy, and the first of the members that have it."""
        return [
            (self.backward_copy, self.standard),
            (self.third_copy, self.members - self._third),
        ]

    def changing(self) -> list[Tensor]:
        """All that training changes, in an order that depends on nothing but the members."""
        kinds = (self.weights, self.backward_copy, self.third_copy, self.left_of_initial)
        return [tensor for kind in kinds for layers in kind.values() for tensor in layers]

    def of_member(self, slot: int) -> dict[str, Tensor]:
        """All of one member's numbers that training changes, by name, whoever stands beside it."""
        kinds: dict[str, tuple[dict[Role, list[Tensor]], int]] = {"weights": (self.weights, 0)}
        kinds |= zip(("backward", "third"), self._copies(), strict=True)
        if self.couplings[slot] == "fresh":
            kinds["left"] = (self.left_of_initial, 0)
        return {
            f"{name} {role} {layer}": tensor[slot - first]
            for name, (layers_of, first) in kinds.items()
            for role, layers in layers_of.items()
            for layer, tensor in enumerate(layers)
            if slot >= first
        }

    def _initial(self, role: Role, layer: int) -> Tensor:
        return self.initial(role, layer, range(self.members))

    def initial(
        self,
        role: Role,
        layer: int,
        members: Sequence[int],
        copy: str = "forward",
        step: int | None = None,
    ) -> Tensor:
        """Effective weights (len(members), out, in) of one layer at step 0, drawn afresh by name."""
        shape = next(shape for name, _, shape in self.architecture.layout() if name == role)
        weights = torch.empty(len(members), *shape, dtype=self.dtype, device=self.device)
        drawn: dict[int, Tensor] = {}
        for slot, member in enumerate(members):
            seed = self.seeds[member]
            if seed not in drawn:
                names = (self.root_seed, seed, role, layer, shape, copy, step)
                entries = initial_weight(*names, nested=self.nested)
                drawn[seed] = torch.from_numpy(entries).to(self.device, self.dtype)
            multiplier = self.architecture.multiplier(role, self.scales[member])
            torch.mul(drawn[seed], multiplier, out=weights[slot])
        return weights

    def keep(self, members: Sequence[int]) -> None:
        """Drop all members but these (in order); the others' numbers do not change."""
        index = torch.tensor(members, dtype=torch.long, device=self.device)
        kinds: list[tuple[dict[Role, list[Tensor]], int]] = [
            (self.weights, 0),
            (self.left_of_initial, 0),
            *self._copies(),
        ]
        for kind, first in kinds:
            rest = index[index >= first] - first
            for layers in kind.values():
                layers[:] = [weight.index_select(0, rest) for weight in layers]
        self.scales = [self.scales[m] for m in members]
        self.seeds = [self.seeds[m] for m in members]
        self.couplings = [self.couplings[m] for m in members]

    def times_backward(self, g: Tensor, role: Role, layer: int) -> Tensor:
        """``g`` (members, batch, out) times the weights as the backward pass sees them."""
        s, weights = self.standard, self.weights[role][layer]
        if s == self.members:
            return products.backward(g, weights)
        t = g.new_empty(*g.shape[:2], weights.shape[2])
        if s:
            products.backward(g[:s], weights[:s], t[:s])
        products.backward(g[s:], self.backward_copy[role][layer], t[s:])
        if self._fresh:
            self._add_fresh(g[s:][self._fresh_copies], role, layer, t[s:][self._fresh_copies])
        return t

    def _add_fresh(self, g: Tensor, role: Role, layer: int, t: Tensor) -> None:
        """Add to ``t`` what ``g`` gives through the initial copies of this step, where there are such."""
        first = self.standard + self._fresh_copies.start
        members = range(first, first + self._fresh)
        copies = self.initial(role, layer, members, "backward", self.step)
        t.baddbmm_(g, copies.mul_(self.left_of_initial[role][layer][members.start : members.stop]))

    def error_of_first(self, t: Tensor, g: Tensor, trace: "Trace", layer: int) -> Tensor:
        """``t``, what W1's product gets from ``g``, with the last members' through their third copy."""
        if not self._third:
            return t
        first = self.members - self._third
        error = t.clone()
        products.backward(g[first:], self.third_copy["hidden_2"][layer], error[first:])
        self.times_derivative(error[first:], trace, layer, first)
        return error

    def add_product(self, gradient: LayerGradient, scale: Tensor) -> None:
        """Add the gradient times ``scale`` (members, 1, 1), to the copies that members have as well."""
        role, layer, x = gradient.role, gradient.layer, gradient.feature
        error = gradient.error * scale
        products.add_outer(self.weights[role][layer], error, x, gradient.groups)
        for copies, first in self._copies():
            if role in copies and first < self.members:
                products.add_outer(copies[role][layer], error[first:], x[first:])

    def add(self, role: Role, layer: int, change: Tensor) -> None:
        """Add ``change`` (members, out, in), to the copies that members have of it as well."""
        self.weights[role][layer].add_(change)
        for copies, first in self._copies():
            if role in copies:
                copies[role][layer].add_(change[first:])

    def shrink(self, role: Role, layer: int, factor: Tensor) -> None:
        """Multiply by ``factor`` (members, 1, 1); a copy by its own member's.

        So a copy stays an independent initial part, as much shrunk, plus the learned change.
        """
        self.weights[role][layer].mul_(factor)
        for copies, first in self._copies():
            if role in copies:
                copies[role][layer].mul_(factor[first:])
        if role in self.left_of_initial:
            self.left_of_initial[role][layer].mul_(factor)

    def column(self, values: Sequence[float]) -> Tensor:
        """One number per member, as (members, 1, 1)."""
        return torch.tensor(values, dtype=self.dtype, device=self.device).view(-1, 1, 1)

    def forward(
        self, x: Tensor, trace: "Trace | None" = None, groups: tuple[int, ...] | None = None
    ) -> Tensor:
        """Outputs f (members, batch, C) for inputs x; fills ``trace`` if given.

        x is (batch, d), seen by all members; or (members, batch, d); or (len(groups), batch, d), of which
        ``groups[i]`` consecutive members see x[i].
        """
        a, weights, activation = self.architecture, self.weights, self.activation
        if x.ndim == 2:
            x, groups = x[None], (self.members,)
        if groups is None:
            h = products.forward(x, weights["input"][0])
        else:
            h = products.of_groups(x, weights["input"][0], groups)
        scratch = torch.empty_like(h)
        for layer in range(a.depth):
            phi = scratch if trace is None else trace.phi[layer]
            inside = h
            if trace is not None and trace.stream is not None:
                trace.stream[layer].copy_(h)
            if a.block_layers == 2:
                inside = phi if trace is None or trace.inside is None else trace.inside[layer]
                products.forward(h, weights["hidden_1"][layer], inside)
            activation.value(inside, phi)
            if a.skip:
                products.add_forward(h, phi, weights["hidden_2"][layer])
            else:
                products.forward(phi, weights["hidden_2"][layer], h)
        if trace is not None:
            trace.inputs, trace.groups, trace.final = x, groups, h
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
            t = self.times_derivative(self.times_backward(g, "hidden_2", layer), trace, layer)
            error = self.error_of_first(t, g, trace, layer)
            visit(LayerGradient("hidden_2", layer, g, phi))
            if a.block_layers == 2:
                below = self.times_backward(t, "hidden_1", layer)
                visit(LayerGradient("hidden_1", layer, error, trace.entering(layer)))
                t = below
            g = g.add_(t) if a.skip else t
        visit(LayerGradient("input", 0, g, trace.inputs, trace.groups))

    def times_derivative(self, g: Tensor, trace: "Trace", layer: int, first: int = 0) -> Tensor:
        """``g`` times phi' of a block, in place; of the members from ``first`` on."""
        if self.activation.times_derivative is not None:
            return self.activation.times_derivative(g, trace.phi[layer][first:])
        return g.mul_(self.activation.derivative(trace.inside_of(layer)[first:]))


class Trace:
    """Features of one forward pass, kept for the backward pass and the probes.

    ``phi[layer]`` (members, batch, n) is what a block's last matrix multiplies; ``stream[layer]`` is
    h_{l-1} and ``inside[layer]`` the argument of phi, each kept where the backward pass needs it: the
    former for two-layer blocks, the latter if phi' is not known from phi. In a one-layer block the two
    are the same. ``final`` is h_L, ``inputs`` and ``groups`` the inputs.
    """

    inputs: Tensor
    groups: tuple[int, ...] | None
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
