"""The observables: how features change, where the change comes from, and how weights couple to it.

Each probe looks at the probe samples of a stack in training. A new one is a class and its name in
``PROBES``; it sees a :class:`nfd.training.snapshot.Snapshot` and knows of no trainer. torch is imported
when a probe measures, for a configuration needs only the names. The symbols are those of docs/theory.md:
z is what a matrix multiplies (h_{l-1} for the first internal layer, phi for the last), W^0 its initial
value, k the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan, sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nfd.network.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from nfd.network.stack import LayerGradient, Stack, Trace
    from nfd.training.snapshot import Snapshot


class Probe(Protocol):
    """Made from the snapshot of step 0; ``measure`` returns metric -> (members, ...) of another one.

    One number per member becomes a row of the results; more, here the outputs, are kept as they are.
    ``block_layers``: the kinds of block it is defined for; ValueError is raised for others.
    """

    block_layers: ClassVar[tuple[int, ...]]

    def __init__(self, start: Snapshot) -> None: ...

    def measure(self, now: Snapshot) -> dict[str, Tensor]: ...


def _rms(x: Tensor) -> Tensor:
    """Root mean square over all but the member axis."""
    return x.flatten(1).square().mean(1).sqrt()


def _slots(first: tuple[int, ...], now: Snapshot) -> list[int]:
    """Where the members of ``now`` stood among the ``first`` ones, before others were dropped."""
    return [first.index(member) for member in now.members]


class Outputs:
    """``outputs``: f itself, (members, P, C)."""

    block_layers: ClassVar[tuple[int, ...]] = (1, 2)

    def __init__(self, start: Snapshot) -> None:
        pass

    def measure(self, now: Snapshot) -> dict[str, Tensor]:
        return {"outputs": now.outputs}


class OutputChange:
    """``output_change``: rms over probe samples and classes of f^k - f^0."""

    block_layers: ClassVar[tuple[int, ...]] = (1, 2)

    def __init__(self, start: Snapshot) -> None:
        self.members, self.initial = start.members, start.outputs

    def measure(self, now: Snapshot) -> dict[str, Tensor]:
        initial = self.initial[_slots(self.members, now)]
        return {"output_change": _rms(now.outputs - initial)}


class FeatureChange:
    """Own-layer learned change, inherited change and stream contribution of each internal layer.

    For the matrix W of internal layer j with input z (1: before the block's activation; 2: what is
    added to the stream, branch factor left out), in units of a pre-activation:

    * ``own_change_j``: rms of (W^k - W^0) z^k,
    * ``inherited_change_j``: rms of W^0 (z^k - z^0),
    * ``total_change_j``: rms of W^k z^k - W^0 z^0, both together,
    * ``stream_change_j``: rms of what the own change adds to h_L directly, summed over blocks.
    """

    block_layers: ClassVar[tuple[int, ...]] = (1, 2)

    def __init__(self, start: Snapshot) -> None:
        self.members, self.initial = start.members, start.trace

    def measure(self, now: Snapshot) -> dict[str, Tensor]:
        stack, a, trace = now.stack, now.stack.architecture, now.trace
        start = _slots(self.members, now)
        squares: dict[str, Tensor] = {}
        streams = {role: trace.final.new_zeros(trace.final.shape) for role in a.hidden_roles}
        everyone = range(stack.members)
        for layer in range(a.depth):
            weight_0 = {role: stack.initial(role, layer, everyone) for role in a.hidden_roles}
            for role in a.hidden_roles:
                z, z_0 = self._input(role, trace, layer), self._input(role, self.initial, layer)
                own = _product(stack.weights[role][layer] - weight_0[role], z)
                inherited = _product(weight_0[role], z - z_0[start])
                if role == "hidden_2":
                    streams[role] += own
                else:
                    x = _product(stack.weights[role][layer], z)
                    without = stack.activation.value(x - own, x)
                    streams[role] += _product(weight_0["hidden_2"], trace.phi[layer] - without)
                # Held in the effective weights of a block's last matrix.
                branch = _branches(stack) if role == "hidden_2" else 1.0
                changes = {"own": own, "inherited": inherited, "total": own + inherited}
                for name, change in changes.items():
                    key = f"{name}_change_{role[-1]}"
                    squares[key] = squares.get(key, 0) + (_rms(change) / branch).square() / a.depth
        values = {key: square.sqrt() for key, square in squares.items()}
        return values | {f"stream_change_{role[-1]}": _rms(s) for role, s in streams.items()}

    def _input(self, role: Role, trace: Trace, layer: int) -> Tensor:
        return trace.entering(layer) if role == "hidden_1" else trace.phi[layer]


def _product(weight: Tensor, z: Tensor) -> Tensor:
    return z.bmm(weight.transpose(1, 2))


def _branches(stack: Stack) -> Tensor:
    factors = [stack.architecture.branch_factor(scales) for scales in stack.scales]
    return stack.column(factors).flatten()


class GradientChange:
    """What the learned part of each internal layer does to the gradient's stream (two-layer blocks).

    ``gradient_change_j``: rms of what (W^k - W^0)^T adds to g_0 directly, summed over blocks, in units of the
    rms of g_L. Only the matrix itself counts, not what its change has done to the fields of other blocks:
    the counterpart of ``stream_change_j``, in the backward pass. The learned part is the same in the weights
    and their copies, so it meets the fields of the pass as each coupling makes them.
    """

    block_layers: ClassVar[tuple[int, ...]] = (2,)

    def __init__(self, start: Snapshot) -> None:
        if start.stack.architecture.block_layers != 2:
            raise ValueError("probes: 'gradients' is defined for two-layer blocks (block_layers 2)")

    def measure(self, now: Snapshot) -> dict[str, Tensor]:
        stack, trace = now.stack, now.trace
        everyone = range(stack.members)
        streams = {
            role: trace.final.new_zeros(trace.final.shape) for role in ("hidden_1", "hidden_2")
        }

        def visit(gradient: LayerGradient) -> None:
            if gradient.role != "hidden_2":
                return
            g, layer = gradient.error, gradient.layer
            first, last = (
                stack.weights[role][layer] - stack.initial(role, layer, everyone)
                for role in stack.architecture.hidden_roles
            )
            passed = stack.times_derivative(
                stack.times_backward(g, "hidden_2", layer), trace, layer
            )
            streams["hidden_1"] += passed.bmm(first)
            learned = stack.times_derivative(g.bmm(last), trace, layer)
            streams["hidden_2"] += stack.times_backward(learned, "hidden_1", layer)

        stack.backward(now.chi, trace, visit)
        final = _rms(now.chi.bmm(stack.weights["output"][0]))
        return {f"gradient_change_{role[-1]}": _rms(s) / final for role, s in streams.items()}


# Signed couplings are kept as their means over so many equal parts of the depth.
PARTS = 8


def signed_couplings(c: Any, branch: Any) -> dict[str, Any]:
    """Metric -> signed couplings (...), from c_l as an array or tensor (..., L, P).

    ``coupling_part_<k>_<x>``: mean of c_l over the layers in part k of PARTS equal ones, at probe x (of fewer
    layers each counts for several parts); ``coupling_sum_<x>``: ``branch`` x sum over l of c_l. What
    training creates is the mean of these over seeds. It changes little between neighbouring layers, while
    the noise of the initial weights is independent and goes down, and products of different seeds are free
    of it (:mod:`nfd.evidence.squares`).
    """
    depth, probes = c.shape[-2:]
    sums = c.sum(-2)
    kept = {f"coupling_sum_{x}": branch * sums[..., x] for x in range(probes)}
    for part in range(PARTS):
        first = part * depth // PARTS
        layers = slice(first, max(first + 1, (part + 1) * depth // PARTS))
        means = c[..., layers, :].mean(-2)
        kept |= {f"coupling_part_{part}_{x}": means[..., x] for x in range(probes)}
    return kept


class WeightCoupling:
    """How much W^0 sees of itself between the forward and the backward pass (one-layer blocks).

    c_l = <W_l^{0T} g_l, phi(h_{l-1})> / n^{3/2} for every probe sample, with the forward initial
    weights and the normalised backward field g (the true gradient times n);
    ``coupling_layer`` is the rms of c_l over layers and samples, ``coupling_accumulated`` the rms
    over samples of branch x sum_l c_l. :func:`signed_couplings` per part of the depth and in sum stand
    beside them.
    """

    block_layers: ClassVar[tuple[int, ...]] = (1,)

    def __init__(self, start: Snapshot) -> None:
        if start.stack.architecture.block_layers != 1:
            raise ValueError("probes: 'coupling' is defined for one-layer blocks (block_layers 1)")

    def measure(self, now: Snapshot) -> dict[str, Tensor]:
        import torch

        stack = now.stack
        products: list[Tensor] = []
        everyone = range(stack.members)

        def visit(gradient: LayerGradient) -> None:
            if gradient.role == "hidden_2":
                weight = stack.initial(gradient.role, gradient.layer, everyone)
                # The effective weight carries branch / sqrt n; the true gradient is g / n.
                products.append((gradient.error * _product(weight, gradient.feature)).sum(2))

        stack.backward(now.chi, now.trace, visit)
        branch = _branches(stack)
        # Passed from the last layer to the first; (members, layers, samples).
        c = torch.stack(products[::-1], 1) / branch[:, None, None]
        return {
            "coupling_layer": _rms(c),
            "coupling_accumulated": branch * _rms(c.sum(1)),
            **signed_couplings(c, branch),
        }


class Kernel:
    """``kernel_min_eigenvalue``: least eigenvalue of h_L h_L^T / n over the probe samples."""

    block_layers: ClassVar[tuple[int, ...]] = (1, 2)

    def __init__(self, start: Snapshot) -> None:
        pass

    def measure(self, now: Snapshot) -> dict[str, Tensor]:
        import torch

        h = now.trace.final.double() / sqrt(now.stack.architecture.width)
        kernel = h @ h.mT
        # A diverged member must not stop the others, and eigvalsh raises where a number is missing.
        finite = kernel.isfinite().flatten(1).all(1)
        least = torch.linalg.eigvalsh(kernel.where(finite.view(-1, 1, 1), 0.0))[:, 0]
        return {"kernel_min_eigenvalue": least.where(finite, nan)}


PROBES: Mapping[str, type[Probe]] = {
    "outputs": Outputs,
    "output_change": OutputChange,
    "features": FeatureChange,
    "gradients": GradientChange,
    "coupling": WeightCoupling,
    "kernel": Kernel,
}
