"""The observables: how features change, where the change comes from, and how weights couple to it.

Each probe looks at the probe samples of a stack in training and returns one number per member. The
symbols are those of docs/theory.md: z is what a matrix multiplies (h_{l-1} for the first internal
layer, phi for the last), W^0 its initial value, k the step.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from nfd.resnet import LayerGradient, Stack, Trace, _apply

if TYPE_CHECKING:
    from nfd.parametrization import Role
    from nfd.training import Trainer


class Probe(Protocol):
    """Built on a trainer at step 0; ``measure`` returns metric -> (members,) at its present step."""

    def measure(self) -> dict[str, Tensor]: ...


def _rms(x: Tensor) -> Tensor:
    """Root mean square over all but the member axis."""
    return x.flatten(1).square().mean(1).sqrt()


def _trace(trainer: Trainer) -> tuple[Tensor, Trace]:
    x = trainer.expand(trainer.probe[0])
    trace = Trace(trainer.stack, x.shape[1])
    return trainer.stack.forward(x, trace), trace


class _ByMember:
    """Values at step 0 by member, looked up again after members have been dropped."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.alive_at_start = list(trainer.alive)

    def slots(self) -> Tensor:
        slots = [self.alive_at_start.index(member) for member in self.trainer.alive]
        return torch.tensor(slots, dtype=torch.long, device=self.trainer.stack.device)


class OutputChange(_ByMember):
    """``output_change``: rms over probe samples and classes of f^k - f^0."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        self.initial = trainer.stack.forward(trainer.expand(trainer.probe[0]))

    def measure(self) -> dict[str, Tensor]:
        f = self.trainer.stack.forward(self.trainer.expand(self.trainer.probe[0]))
        return {"output_change": _rms(f - self.initial.index_select(0, self.slots()))}


class FeatureChange(_ByMember):
    """Own-layer learned change, inherited change and stream contribution of each internal layer.

    For the matrix W of internal layer j with input z (1: before the block's activation; 2: what is
    added to the stream, branch factor left out), in units of a pre-activation:

    * ``own_change_j``: rms of (W^k - W^0) z^k,
    * ``inherited_change_j``: rms of W^0 (z^k - z^0),
    * ``stream_change_j``: rms of what the own change adds to h_L directly, summed over blocks.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        self.initial = _trace(trainer)[1]

    def measure(self) -> dict[str, Tensor]:
        stack, a = self.trainer.stack, self.trainer.stack.architecture
        trace = _trace(self.trainer)[1]
        start = self.slots()
        squares: dict[str, Tensor] = {}
        streams = {role: torch.zeros_like(trace.final) for role in a.hidden_roles}
        everyone = range(stack.members)
        for layer in range(a.depth):
            weight_0 = {role: stack.initial(role, layer, everyone) for role in a.hidden_roles}
            for role in a.hidden_roles:
                z, z_0 = self._input(role, trace, layer), self._input(role, self.initial, layer)
                own = _product(stack.weights[role][layer] - weight_0[role], z)
                inherited = _product(weight_0[role], z - z_0.index_select(0, start))
                if role == "hidden_2":
                    streams[role] += own
                else:
                    x = _product(stack.weights[role][layer], z)
                    without = _apply(a.activation, x - own, out=x)
                    streams[role] += _product(weight_0["hidden_2"], trace.phi[layer] - without)
                branch = self._branch(role)
                for name, change in (("own", own), ("inherited", inherited)):
                    key = f"{name}_change_{role[-1]}"
                    squares[key] = squares.get(key, 0) + (_rms(change) / branch).square() / a.depth
        values = {key: square.sqrt() for key, square in squares.items()}
        return values | {f"stream_change_{role[-1]}": _rms(s) for role, s in streams.items()}

    def _input(self, role: Role, trace: Trace, layer: int) -> Tensor:
        return trace.stream[layer] if role == "hidden_1" else trace.phi[layer]

    def _branch(self, role: Role) -> Tensor | float:
        """Branch factor (members,) held in the effective weights of a block's last matrix."""
        if role == "hidden_1":
            return 1.0
        return _branches(self.trainer.stack)


def _product(weight: Tensor, z: Tensor) -> Tensor:
    return torch.bmm(z, weight.transpose(1, 2))


def _branches(stack: Stack) -> Tensor:
    factors = [stack.architecture.branch_factor(scales) for scales in stack.scales]
    return torch.tensor(factors, dtype=stack.dtype, device=stack.device)


class Coupling(_ByMember):
    """How much W^0 sees of itself between the forward and the backward pass (one-layer blocks).

    c_l = <W_l^{0T} g_l, phi(h_{l-1})> / n^{3/2} for every probe sample, with the forward initial
    weights and the normalised backward field g (the true gradient times n);
    ``coupling_layer`` is the rms of c_l over layers and samples, ``coupling_accumulated`` the rms
    over samples of branch x sum_l c_l.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        if trainer.architecture.block_layers != 1:
            raise ValueError("probes: 'coupling' is defined for one-layer blocks (block_layers 1)")

    def measure(self) -> dict[str, Tensor]:
        from nfd.training import loss_and_chi

        stack = self.trainer.stack
        f, trace = _trace(self.trainer)
        chi = loss_and_chi(f, self.trainer.probe[1], self.trainer.loss)[1]
        products: list[Tensor] = []
        everyone = range(stack.members)

        def visit(gradient: LayerGradient) -> None:
            if gradient.role == "hidden_2":
                weight = stack.initial(gradient.role, gradient.layer, everyone)
                # The effective weight carries branch / sqrt n; the true gradient is g / n.
                products.append((gradient.error * _product(weight, gradient.feature)).sum(2))

        stack.backward(chi, trace, visit)
        scaled = torch.stack(products, 1)  # (members, layers, samples), branch x c_l
        return {
            "coupling_layer": _rms(scaled) / _branches(stack),
            "coupling_accumulated": _rms(scaled.sum(1)),
        }


class Kernel:
    """``kernel_min_eigenvalue``: least eigenvalue of h_L h_L^T / n over the probe samples."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def measure(self) -> dict[str, Tensor]:
        h = _trace(self.trainer)[1].final.double() / sqrt(self.trainer.architecture.width)
        kernel = h @ h.mT
        # A diverged member must not stop the others, and eigvalsh raises where a number is missing.
        finite = kernel.isfinite().flatten(1).all(1)
        least = torch.linalg.eigvalsh(kernel.where(finite.view(-1, 1, 1), 0.0))[:, 0]
        return {"kernel_min_eigenvalue": least.where(finite, torch.nan)}


PROBES = {
    "output_change": OutputChange,
    "features": FeatureChange,
    "coupling": Coupling,
    "kernel": Kernel,
}
