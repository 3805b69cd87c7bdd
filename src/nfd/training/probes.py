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
from typing import TYPE_CHECKING, Protocol

from nfd.network.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from nfd.network.stack import LayerGradient, Stack, Trace
    from nfd.training.snapshot import Snapshot


class Probe(Protocol):
    """Made from the snapshot of step 0; ``measure`` returns metric -> (members, ...) of another one.

    One number per member becomes a row of the results; more, here the outputs, are kept as they are.
    Raises ValueError if the networks are not of a kind for which the probe is defined.
    """

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

    def __init__(self, start: Snapshot) -> None:
        pass

    def measure(self, now: Snapshot) -> dict[str, Tensor]:
        return {"outputs": now.outputs}


class OutputChange:
    """``output_change``: rms over probe samples and classes of f^k - f^0."""

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
    * ``stream_change_j``: rms of what the own change adds to h_L directly, summed over blocks.
    """

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
                for name, change in (("own", own), ("inherited", inherited)):
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


class WeightCoupling:
    """How much W^0 sees of itself between the forward and the backward pass (one-layer blocks).

    c_l = <W_l^{0T} g_l, phi(h_{l-1})> / n^{3/2} for every probe sample, with the forward initial
    weights and the normalised backward field g (the true gradient times n);
    ``coupling_layer`` is the rms of c_l over layers and samples, ``coupling_accumulated`` the rms
    over samples of branch x sum_l c_l.
    """

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
        scaled = torch.stack(products, 1)  # (members, layers, samples), branch x c_l
        return {
            "coupling_layer": _rms(scaled) / _branches(stack),
            "coupling_accumulated": _rms(scaled.sum(1)),
        }


class Kernel:
    """``kernel_min_eigenvalue``: least eigenvalue of h_L h_L^T / n over the probe samples."""

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
    "coupling": WeightCoupling,
    "kernel": Kernel,
}
