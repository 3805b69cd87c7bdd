"""The activations phi: one record each, with all that depends on which one it is.

A new activation is one more record of ``ACTIVATIONS``: networks, the limit solver, closed forms and the
tests of derivatives take it from there. The functions of tensors import torch when they are called, for
closed forms and configurations need the rest of a record and load no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import asin, pi, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class KernelMoments(NamedTuple):
    """E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for all pairs of Gaussian pre-activations, (N, N)."""

    values: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True)
class Activation:
    """A function phi of every coordinate, and its derivative.

    * ``value(x, out)``: phi(x), written into ``out``, which may be ``x``;
    * ``derivative(x)``: phi'(x) *from the input*, of a shape that broadcasts to that of x; booleans for
      a step, which take a quarter of the memory;
    * ``gain``: factor of the blocks of a network without skips (docs/theory.md, section 1);
    * ``times_derivative(g, phi)``: g times phi'(x), in place, *from the value* phi = phi(x), so that a
      pass need not keep x; None where the value does not determine the derivative;
    * ``energy``: q with E phi(h)^2 = q E h^2 and E phi'(h)^2 = q for Gaussian h of every size; None
      where there is no such number;
    * ``kernel``: the moments from the covariance (N, N) of the pre-activations; None if unknown.
    """

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    gain: float = 1.0
    times_derivative: Callable[[Tensor, Tensor], Tensor] | None = None
    energy: float | None = None
    kernel: Callable[[np.ndarray], KernelMoments] | None = None


# --- ReLU -----------------------------------------------------------------------------------------


def _relu(x: Tensor, out: Tensor) -> Tensor:
    import torch

    return torch.clamp(x, min=0, out=out)


def _times_step(g: Tensor, phi: Tensor) -> Tensor:
    import torch

    torch.ops.aten.threshold_backward.grad_input(g, phi, 0, grad_input=g)
    return g


def _arc_cosine_kernel(covariance: np.ndarray) -> KernelMoments:
    """Cho and Saul (2009)."""
    scale = np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    angle = np.arccos(np.clip(covariance / np.where(scale > 0, scale, 1), -1, 1))
    values = scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    return KernelMoments(values, (np.pi - angle) / (2 * np.pi))


# --- tanh, erf and the identity -------------------------------------------------------------------


def _tanh(x: Tensor, out: Tensor) -> Tensor:
    import torch

    return torch.tanh(x, out=out)


def _erf(x: Tensor, out: Tensor) -> Tensor:
    import torch

    return torch.erf(x, out=out)


# Trapezoidal rule for the standard normal law, whose error for a smooth function falls exponentially
# with the inverse step: for tanh below 1e-8 up to a variance of 4.
_NODES = np.arange(-6.5, 6.51, 0.25)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


def _tanh_kernel(covariance: np.ndarray) -> KernelMoments:
    """By two-dimensional quadrature: no closed form is known."""
    variances = np.maximum(covariance.diagonal(), 1e-300)
    values, slopes = np.empty_like(covariance), np.empty_like(covariance)
    for row, a in enumerate(variances):
        u = np.tanh(np.sqrt(a) * _NODES)  # (nodes,)
        along = covariance[row] / np.sqrt(a)
        apart = np.sqrt(np.maximum(variances - along**2, 0.0))
        # v given u: (N, nodes of u, nodes of what is independent of u)
        v = np.tanh(along[:, None, None] * _NODES[:, None] + apart[:, None, None] * _NODES)
        values[row] = (v @ _WEIGHTS) @ (_WEIGHTS * u)
        slopes[row] = ((1 - v**2) @ _WEIGHTS) @ (_WEIGHTS * (1 - u**2))
    return KernelMoments((values + values.T) / 2, (slopes + slopes.T) / 2)


def _arc_sine_kernel(covariance: np.ndarray) -> KernelMoments:
    """Williams (1997): for erf, from the variances a, b and the covariance c of u and v."""
    variances = 1 + 2 * covariance.diagonal()
    scale = np.outer(variances, variances)
    values = 2 / pi * np.arcsin(2 * covariance / np.sqrt(scale))
    return KernelMoments(values, 4 / pi / np.sqrt(scale - 4 * covariance**2))


def _identity_kernel(covariance: np.ndarray) -> KernelMoments:
    return KernelMoments(covariance, np.ones_like(covariance))


# --- GELU, x times the normal distribution function of x --------------------------------------------


def _gelu(x: Tensor, out: Tensor) -> Tensor:
    import torch

    torch.ops.aten.gelu.out(x, out=out)
    return out


def _gelu_derivative(x: Tensor) -> Tensor:
    import torch

    density = torch.exp(-0.5 * x.square()) / sqrt(2 * pi)
    slope: Tensor = torch.special.ndtr(x)
    return slope.addcmul_(x, density)


def _gelu_kernel(covariance: np.ndarray) -> KernelMoments:
    """Tsuchida et al. (arXiv:2002.08517), with u, v of variances a, b and covariance c.

    Gaussian integration by parts gives E[u v F(u) F(v)] from E[F(u) F(v)] = 1/4 + arcsin(rho) / 2 pi and
    its derivatives, rho = c / sqrt((1 + a)(1 + b)); E[phi'(u) phi'(v)] is its derivative by c.
    """
    c, variances = covariance, covariance.diagonal()
    a, b = variances[:, None], variances[None, :]
    scale = (1 + a) * (1 + b)
    angle = 0.25 + np.arcsin(c / np.sqrt(scale)) / (2 * pi)
    rest = scale - c**2
    shrink = a / (1 + a) + b / (1 + b)
    numerator = a * b + c**2 * (1 - shrink)
    density = 1 / (2 * pi * np.sqrt(rest))
    values = c * angle + numerator * density
    slopes = angle + c * density * (1 + 2 * (1 - shrink) + numerator / rest)
    return KernelMoments(values, slopes)


# E phi(z)^2 of a normal z; without skips its inverse root keeps E h^2 = 1.
_ERF_SQUARE = 2 / pi * asin(2 / 3)
_GELU_SQUARE = float(_gelu_kernel(np.ones((1, 1))).values.item())

_RECORDS = (
    Activation(
        "relu",
        value=_relu,
        derivative=lambda x: x > 0,
        gain=sqrt(2.0),
        times_derivative=_times_step,
        energy=0.5,
        kernel=_arc_cosine_kernel,
    ),
    Activation(
        "tanh",
        value=_tanh,
        derivative=lambda x: 1 - x.tanh() ** 2,
        times_derivative=lambda g, phi: g.addcmul_(g * phi, phi, value=-1),
        kernel=_tanh_kernel,
    ),
    Activation(
        "linear",
        value=lambda x, out: out.copy_(x),
        derivative=lambda x: x.new_ones(*x.shape[:-1], 1),
        times_derivative=lambda g, phi: g,
        energy=1.0,
        kernel=_identity_kernel,
    ),
    Activation(
        "gelu",
        value=_gelu,
        derivative=_gelu_derivative,
        gain=1 / sqrt(_GELU_SQUARE),
        kernel=_gelu_kernel,
    ),
    Activation(
        "erf",
        value=_erf,
        derivative=lambda x: (-x.square()).exp() * (2 / sqrt(pi)),
        gain=1 / sqrt(_ERF_SQUARE),
        kernel=_arc_sine_kernel,
    ),
)

ACTIVATIONS: Mapping[str, Activation] = {record.name: record for record in _RECORDS}
