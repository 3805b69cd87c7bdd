"""Exact results at infinite width that simulations must meet (docs/theory.md, section 5; no torch).

* one sample, first step: the response of the output, at any depth and in the limit:
  :func:`first_step_response`;
* many samples, first step, from the recursions of the kernels: :func:`first_step_change`.

Everywhere ``depth`` is the number L of blocks and ``horizon`` is T.
"""

from collections.abc import Sequence
from math import exp, inf
from typing import NamedTuple

import numpy as np

from nfd.choices import check_choice
from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import COUPLINGS
from nfd.network.losses import LOSSES
from nfd.network.parametrization import FEATURE_LEARNING, PARAMETRIZATIONS
from nfd.network.roles import hidden_roles

# --- One sample with |x|^2 = d, one small step, one-layer blocks, depth_mup -------------------------


def _energy(activation: str) -> float:
    """q in E[phi(h)^2] = q E[h^2], which is also E[phi'(h)^2]."""
    check_choice("activation", activation, ACTIVATIONS)
    energy = ACTIVATIONS[activation].energy
    if energy is None:
        known = ", ".join(name for name, phi in ACTIVATIONS.items() if phi.energy is not None)
        raise ValueError(
            f"activation: no closed form of one sample for {activation!r}; choose {known}"
        )
    return energy


def first_step_response(
    *,
    horizon: float = 1.0,
    depth: float = inf,
    activation: str = "relu",
    coupling: str = "standard",
    trainable: Sequence[str] = ("hidden",),
) -> float:
    """-df / d(eta chi): how far the output moves per unit of learning rate times loss derivative.

    The contributions of the roles in ``trainable`` ("input", "hidden" or "hidden_2", "output") add up.
    """
    rate = _energy(activation) * horizon
    growth = exp(rate) if depth == inf else (1 + rate / depth) ** depth
    standard = coupling == "standard"
    hidden = rate * (growth / (1 + rate / depth)) if standard else growth - 1
    response = {
        "input": growth if standard else 1.0,
        "hidden": hidden,
        "hidden_2": hidden,
        "output": growth,
    }
    check_choice("coupling", coupling, COUPLINGS)
    for role in trainable:
        check_choice("trainable", role, response)
    return sum(response[role] for role in trainable)


# --- Many samples, the first step ----------------------------------------------------------------


def first_step_change(
    batch_inputs: np.ndarray,
    batch_targets: np.ndarray,
    probe_inputs: np.ndarray,
    *,
    depth: int,
    learning_rate: float,
    horizon: float = 1.0,
    activation: str = "relu",
    block_layers: int = 1,
    skip: bool = True,
    loss: str = "mse",
    parametrization: str = "depth_mup",
    correction: float = 0.5,
    coupling: str = "standard",
    trainable: Sequence[str] = ("input", "hidden", "output"),
) -> np.ndarray:
    """Change (P, C) of the outputs on the probes by one SGD step, to first order in the learning rate.

    batch_inputs (B, d), batch_targets (B, C) values (one-hot rows for classes), probe_inputs (P, d).
    At infinite width f = 0 before the step, so

        change(x) = -learning_rate / B * sum_b chi_b K(x, x_b),

    with chi_b the loss derivative at f = 0 and K a sum over roles of a forward kernel times a backward
    kernel. In the decoupled network the gradient that trains a layer and the one through which the
    output feels the change share the identity path only, so its backward kernel is 1 with skips and 0
    without (but for the last layer). Any mup-type row of PARAMETRIZATIONS; every activation with
    a kernel.
    """
    targets = np.asarray(batch_targets, float)
    if targets.ndim != 2:
        raise ValueError("batch_targets: need (B, C) values; pass one-hot rows for classes")
    check_choice("loss", loss, LOSSES)
    samples = np.concatenate([np.asarray(probe_inputs, float), np.asarray(batch_inputs, float)])
    kernel = _first_step_kernel(
        samples,
        depth=depth,
        horizon=horizon,
        activation=activation,
        block_layers=block_layers,
        skip=skip,
        parametrization=parametrization,
        correction=correction,
        coupling=coupling,
        trainable=trainable,
    )
    chi = LOSSES[loss].chi(np.zeros_like(targets), targets)
    probes = len(probe_inputs)
    return -learning_rate / len(targets) * kernel[:probes, probes:] @ chi


def _first_step_kernel(
    samples: np.ndarray,
    *,
    depth: int,
    horizon: float,
    activation: str,
    block_layers: int,
    skip: bool,
    parametrization: str,
    correction: float,
    coupling: str,
    trainable: Sequence[str],
) -> np.ndarray:
    """K (N, N): the output of one sample moves by -rate * K * chi when another is learned."""
    if block_layers == 2 and not skip:
        raise ValueError("skip: False needs block_layers 1")
    check_choice("coupling", coupling, COUPLINGS)
    check_choice("activation", activation, ACTIVATIONS)
    phi, input_dim = ACTIVATIONS[activation], samples.shape[1]
    if phi.kernel is None:
        known = ", ".join(name for name, record in ACTIVATIONS.items() if record.kernel is not None)
        raise ValueError(f"activation: no closed form for {activation!r}; choose {known}")
    rates = _Rates.of(
        parametrization, depth, input_dim, horizon, correction, trainable, block_layers
    )
    branch = rates.branch if skip else phi.gain
    gram = samples @ samples.T / input_dim

    streams, blocks = [gram], []
    for _ in range(depth):
        # With two layers, the pre-activation W1 h has the covariance of h.
        blocks.append(phi.kernel(streams[-1]))
        streams.append(skip * streams[-1] + branch**2 * blocks[-1].values)

    kernel = rates.output * streams[-1]
    backward = np.ones_like(gram)
    shared = coupling == "standard"
    for stream, block in zip(reversed(streams[:-1]), reversed(blocks), strict=True):
        through_block = branch**2 * block.slopes * backward * shared
        kernel += rates.hidden_2 * branch**2 * backward * block.values
        kernel += rates.hidden_1 * through_block * stream
        backward = skip * backward + through_block
    return kernel + rates.input * backward * gram


class _Rates(NamedTuple):
    """Branch factor, and per role the learning-rate factor left at infinite width; 0 if not trained."""

    branch: float
    input: float
    hidden_1: float
    hidden_2: float
    output: float

    @classmethod
    def of(
        cls,
        parametrization: str,
        depth: int,
        input_dim: int,
        horizon: float,
        correction: float,
        trainable: Sequence[str],
        block_layers: int,
    ) -> "_Rates":
        hidden = hidden_roles(block_layers)
        for name in trainable:
            check_choice("trainable", name, ("input", "hidden", *hidden, "output"))
        trained = {*trainable, *(hidden if "hidden" in trainable else ())}
        check_choice("parametrization", parametrization, FEATURE_LEARNING)
        row = PARAMETRIZATIONS[parametrization]
        # Mup's powers of the width cancel against those of the fields, and at width 1 they are 1.
        scales = row.scales(1, depth, input_dim, horizon=horizon, correction=correction)
        factors = {r: scales[r].learning_rate * (r in trained) for r in scales.roles}
        return cls(scales.branch, **factors)
