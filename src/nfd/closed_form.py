"""Exact results at infinite width that simulations must meet (docs/theory.md, section 5; no torch).

* one sample, first step: the response of the output, at any depth and in the limit:
  :func:`first_step_response`, what is left between both couplings: :func:`first_step_gap`,
  :func:`response_ratio`;
* what the first step leaves behind: :func:`first_step_coupling` of a matrix with its transpose, and
  :func:`learned_backward_overlap` of two-layer blocks;
* the same response for any activation by one-dimensional integrals: :func:`moments`,
  :func:`one_sample_response`;
* many samples, first step, from the recursions of the kernels: :func:`first_step_change`,
  :func:`batch_gap`, :func:`batch_response_ratio`;
* two-layer blocks, what the learned W1 do to the next gradient: :func:`learned_gradient_change`.

Everywhere ``depth`` is the number L of blocks and ``horizon`` is T.
"""

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from nfd.choices import check_choice
from nfd.network.activations import ACTIVATIONS
from nfd.network.couplings import COUPLINGS
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


def _growth(horizon: float, depth: float, activation: str) -> float:
    """(1 + qT/L)^L: by how much the blocks multiply the mean square of the stream."""
    rate = _energy(activation) * horizon
    return exp(rate) if depth == inf else (1 + rate / depth) ** depth


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
    growth = _growth(horizon, depth, activation)
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


def _block_share(horizon: float, depth: float, activation: str) -> float:
    """r = qT / (1 + qT/L): the hidden layers' response as a multiple of the output layer's, (1 + qT/L)^L."""
    rate = _energy(activation) * horizon
    return rate / (1 + rate / depth)


def first_step_gap(*, horizon: float = 1.0, depth: float = inf, activation: str = "relu") -> float:
    """|standard - decoupled| / standard change of the output by one small step of all roles: r / (2 + r).

    qT / (2 + qT) at infinite depth: 1/5 for relu and 1/3 for linear blocks at T = 1, 0 only as T -> 0.
    """
    share = _block_share(horizon, depth, activation)
    return share / (2 + share)


def response_ratio(
    role: str, *, horizon: float = 1.0, depth: float = inf, activation: str = "relu"
) -> float:
    """Standard over decoupled :func:`first_step_response` of one role; 1 for "output"."""
    standard, decoupled = (
        first_step_response(
            horizon=horizon,
            depth=depth,
            activation=activation,
            coupling=coupling,
            trainable=(role,),
        )
        for coupling in ("standard", "decoupled")
    )
    return standard / decoupled


class FirstStepCoupling(NamedTuple):
    """-sum_l sqrt(T/L) c_l / (eta chi^2) after one small step, by where it comes from.

    ``features``: from the changed h, against the old g; ``gradients``: from the changed g, against the
    old h; ``block_below``: the part of ``features`` that block l-1 alone adds to c_l.
    """

    features: float
    gradients: float
    block_below: float


def first_step_coupling(
    *,
    horizon: float = 1.0,
    depth: float = inf,
    activation: str = "relu",
    coupling: str = "standard",
) -> FirstStepCoupling:
    """What one small step adds to c_l = <W_l^T g_l, phi(h_{l-1})> / n^{3/2}, summed over depth.

    All roles are trained, and g is that of a fixed chi. In the standard network ``features`` grow and
    ``gradients`` fall linearly with l; their sum is the same in every block, and so are the decoupled
    network's ``gradients`` (docs/theory.md, section 5).
    """
    check_choice("coupling", coupling, COUPLINGS)
    rate = _energy(activation) * horizon
    # sum_l (qT/L) (1 + qT/L)^(L-1): what W_l adds to the stream times what the stream adds to g_l.
    base = rate * _growth(horizon, depth, activation) / (1 + rate / depth)
    if coupling != "standard":
        return FirstStepCoupling(0.0, base, 0.0)
    share = _block_share(horizon, depth, activation)
    # Half of the other blocks lie below, and move h_{l-1}; half lie above, and move g_l.
    others = share * (1 - 1 / depth)
    half = base * (1 + others / 2)
    return FirstStepCoupling(features=half, gradients=half, block_below=base * others / depth)


def learned_backward_overlap(
    *,
    depth: float,
    horizon: float = 1.0,
    activation: str = "relu",
    correction: float = 0.5,
    coupling: str = "standard",
) -> float:
    """-<h_0, d> / (n eta chi^2), where d is what the learned W1 adds to g_0 at the second step.

    Two-layer blocks under depth_mup_corrected, one sample. In every block the learned W1 adds to g a
    multiple of the stream of one sign, because the copy of W2 that made it passes g back once more; so the
    overlap grows as L^p in the decoupled network too (docs/theory.md, section 5). With a fresh copy at every
    step, or a third one that makes W1, the two are independent and nothing adds up.
    """
    check_choice("coupling", coupling, COUPLINGS)
    if coupling in ("fresh", "third"):
        return 0.0
    hidden = first_step_response(
        horizon=horizon, depth=depth, activation=activation, coupling=coupling
    )
    return depth**correction * hidden


# --- One sample, the first step, any activation -----------------------------------------------------

Function = Callable[[np.ndarray], np.ndarray]
# Midpoint rule for the standard normal law. For smooth functions it converges faster than any power of the
# step, where Gauss-Hermite nodes lie too far apart near 0 once phi saturates; no node lies at relu's kink.
_NODES = np.arange(-9.975, 10, 0.05)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


class Moments(NamedTuple):
    """E[phi(h)^2] and E[phi'(h)^2] for Gaussian h; arrays of the shape of the variance."""

    square: np.ndarray
    slope_square: np.ndarray


def moments(phi: Function, dphi: Function, variance: np.ndarray | float) -> Moments:
    """Both moments by one-dimensional quadrature, for phi and its derivative as elementwise functions.

    Exact for relu, by symmetry; to 1e-12 for tanh, erf and gelu up to a variance of 30.
    """
    h = np.sqrt(np.asarray(variance, float))[..., None] * _NODES
    return Moments(phi(h) ** 2 @ _WEIGHTS, dphi(h) ** 2 @ _WEIGHTS)


def one_sample_response(
    phi: Function,
    dphi: Function,
    *,
    horizon: float = 1.0,
    depth: float = inf,
    coupling: str = "standard",
) -> dict[str, float]:
    """-df / d(eta chi) of the first step by role, as :func:`first_step_response`, for any activation.

    One sample with |x|^2 = d, one-layer blocks under depth_mup. With A = E[phi^2] and D = E[phi'^2] at
    variance S, each block adds (T/L) A to S (which ends as the output layer's response) and to the hidden
    layers' response, and multiplies the responses of all layers below by 1 + (T/L) D if the backward pass
    uses its matrix. At infinite depth these are differential equations in l/L, solved to 1e-9.
    """
    check_choice("coupling", coupling, COUPLINGS)
    shared = coupling == "standard"

    def slope(_: float, state: np.ndarray) -> np.ndarray:
        variance, input_, hidden = state
        square, slope_square = moments(phi, dphi, variance)
        fed_back = shared * slope_square
        return horizon * np.array([square, fed_back * input_, square + fed_back * hidden])

    state = np.array([1.0, 1.0, 0.0])
    if depth == inf:
        state = solve_ivp(slope, (0, 1), state, rtol=1e-10, atol=1e-12).y[:, -1]
    else:
        for _ in range(int(depth)):
            state = state + slope(0.0, state) / depth
    output, input_, hidden = map(float, state)
    return {"input": input_, "hidden": hidden, "output": output}


# --- Many samples, the first step ----------------------------------------------------------------

# Inputs (B, d) and targets (B, C) of the samples that are learned, inputs (P, d) that are looked at.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


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


def batch_gap(
    batch_inputs: np.ndarray,
    batch_targets: np.ndarray,
    probe_inputs: np.ndarray,
    *,
    depth: int,
    **options: Any,
) -> float:
    """Output gap of the first step on a real batch at infinite width, to first order in the rate; no seeds.

    rms over probes and outputs of standard minus decoupled change, over that of the standard change.
    ``options`` are those of :func:`first_step_change` but for the coupling and the learning rate.
    """
    standard, decoupled = _both_changes((batch_inputs, batch_targets, probe_inputs), depth, options)
    return float(np.linalg.norm(standard - decoupled) / np.linalg.norm(standard))


def batch_response_ratio(
    batch_inputs: np.ndarray,
    batch_targets: np.ndarray,
    probe_inputs: np.ndarray,
    *,
    depth: int,
    **options: Any,
) -> float:
    """As :func:`batch_gap`: rms of the standard change over that of the decoupled one."""
    standard, decoupled = _both_changes((batch_inputs, batch_targets, probe_inputs), depth, options)
    return float(np.linalg.norm(standard) / np.linalg.norm(decoupled))


def _both_changes(
    batch: Batch, depth: int, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Standard and decoupled :func:`first_step_change` at rate 1."""
    standard, decoupled = (
        first_step_change(*batch, depth=depth, learning_rate=1.0, coupling=coupling, **options)
        for coupling in ("standard", "decoupled")
    )
    return standard, decoupled


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


# --- Two-layer blocks, one sample, the second backward pass -----------------------------------------


def learned_gradient_change(
    *,
    depth: int,
    horizon: float = 1.0,
    activation: str = "relu",
    correction: float = 0.5,
) -> float:
    """rms of what the learned W1 add to g_0 directly, over rms g_L, per learning rate times |chi|.

    Two-layer blocks under depth_mup_corrected after one small step on one sample, which is then probed; the
    same for reused weights and for one fixed backward copy. Block l adds -(T/L) L^p q <g_l, g_l^0>/n times
    h_{l-1}, all of one sign, so that it grows as L^p. See :func:`learned_backward_overlap` for what reaches
    h_0, and the couplings in which it vanishes.
    """
    step = _energy(activation) * horizon / depth
    growth = (1 + step) ** np.arange(depth)  # E[h_{l-1}^2], and backwards E[g_l^2] / chi^2
    below = np.minimum.outer(growth, growth)  # <h_{l-1}, h_{m-1}> / n: what both have in common
    weights = growth[::-1]
    return float(depth**correction * step * np.sqrt(weights @ below @ weights))
