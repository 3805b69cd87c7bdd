"""Exact results at infinite width that simulations must meet, and what goes with them (no torch).

* one sample, first step: norms of features and gradients, and the response of the output, at any depth
  and in the limit (docs/theory.md, section 5): :func:`feature_norm`, :func:`gradient_norm`,
  :func:`first_step_response`, what is left between both couplings: :func:`first_step_gap`,
  :func:`response_ratio`;
* what the first step leaves behind: :func:`first_step_coupling` of a matrix with its transpose, and
  :func:`learned_backward_overlap` of two-layer blocks;
* the same response for any activation by one-dimensional integrals: :func:`moments`,
  :func:`one_sample_response`;
* many samples, first step, from the recursions of the kernels: :func:`first_step_change`,
  :func:`batch_gap`;
* linear networks, all steps, from the Tensor Programs recursion: :func:`linear_outputs`;
* from finite depths to infinite depth, with an error bar: :func:`extrapolate_depth`;
* memory of a limit simulation: :func:`limit_bytes`.

Everywhere ``depth`` is the number L of blocks and ``horizon`` is T.
"""

from collections.abc import Callable, Sequence
from math import exp, inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from nfd.parametrization import PARAMETRIZATIONS

_HIDDEN = {1: ("hidden_2",), 2: ("hidden_1", "hidden_2")}


def _width_powers(name: str) -> list:
    return [(cell.multiplier.n, cell.sgd.n) for cell in PARAMETRIZATIONS[name].cells.values()]


# The rows under which features move by O(1) at infinite width: those with mup's powers of n.
FEATURE_LEARNING = tuple(n for n in PARAMETRIZATIONS if _width_powers(n) == _width_powers("mup"))


# --- One sample with |x|^2 = d, one small step, one-layer blocks, depth_mup -------------------------


def _growth(horizon: float, depth: float, activation: str, power: float) -> float:
    """(1 + qT/L)^(L power), or e^(qT power) for infinite ``depth``."""
    rate = _energy(activation) * horizon
    return exp(rate * power) if depth == inf else (1 + rate / depth) ** (depth * power)


def _energy(activation: str) -> float:
    """q in E[phi(h)^2] = q E[h^2], which is also E[phi'(h)^2]."""
    if activation not in ("relu", "linear"):
        raise ValueError(f"activation: no closed form for {activation!r}; choose relu or linear")
    return 0.5 if activation == "relu" else 1.0


def feature_norm(
    time: float, *, horizon: float = 1.0, depth: float = inf, activation: str = "relu"
) -> float:
    """E[h_l^2] at ``time`` l/L."""
    return _growth(horizon, depth, activation, time)


def gradient_norm(
    time: float, *, horizon: float = 1.0, depth: float = inf, activation: str = "relu"
) -> float:
    """E[g_l^2] / chi^2 at ``time`` l/L."""
    return _growth(horizon, depth, activation, 1 - time)


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
    growth = _growth(horizon, depth, activation, 1)
    rate = _energy(activation) * horizon
    standard = coupling == "standard"
    hidden = rate * (growth / (1 + rate / depth)) if standard else growth - 1
    response = {
        "input": growth if standard else 1.0,
        "hidden": hidden,
        "hidden_2": hidden,
        "output": growth,
    }
    _check_names("coupling", [coupling], ("standard", "decoupled"))
    _check_names("trainable", trainable, tuple(response))
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
    _check_names("coupling", [coupling], ("standard", "decoupled"))
    rate = _energy(activation) * horizon
    # sum_l (qT/L) (1 + qT/L)^(L-1): what W_l adds to the stream times what the stream adds to g_l.
    base = rate * _growth(horizon, depth, activation, 1) / (1 + rate / depth)
    if coupling == "decoupled":
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
    overlap grows as L^p in the decoupled network too (docs/theory.md, section 5).
    """
    _check_names("coupling", [coupling], ("standard", "decoupled"))
    hidden = first_step_response(
        horizon=horizon, depth=depth, activation=activation, coupling=coupling
    )
    return depth**correction * hidden


def _check_names(key: str, names: Sequence[str], accepted: Sequence[str]) -> None:
    for name in names:
        if name not in accepted:
            raise ValueError(f"{key}: {name!r} is not accepted; choose {', '.join(accepted)}")


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
    _check_names("coupling", [coupling], ("standard", "decoupled"))
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


class _Moments(NamedTuple):
    """E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for all pairs of Gaussian pre-activations, (N, N)."""

    values: np.ndarray
    slopes: np.ndarray


def _moments(covariance: np.ndarray, activation: str) -> _Moments:
    """The arc-cosine kernels of ReLU (Cho and Saul, 2009), or the covariance itself."""
    if activation == "linear":
        return _Moments(covariance, np.ones_like(covariance))
    if activation != "relu":
        raise ValueError(f"activation: no closed form for {activation!r}; choose relu or linear")
    scale = np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    angle = np.arccos(np.clip(covariance / np.where(scale > 0, scale, 1), -1, 1))
    values = scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    return _Moments(values, (np.pi - angle) / (2 * np.pi))


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
    without (but for the last layer). Any mup-type row of PARAMETRIZATIONS; relu or linear.
    """
    targets = np.asarray(batch_targets, float)
    if targets.ndim != 2:
        raise ValueError("batch_targets: need (B, C) values; pass one-hot rows for classes")
    _check_names("loss", [loss], ("mse", "cross_entropy"))
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
    chi = _loss_derivative(np.zeros_like(targets), targets, loss)
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
    standard, decoupled = (
        first_step_change(
            batch_inputs,
            batch_targets,
            probe_inputs,
            depth=depth,
            learning_rate=1.0,
            coupling=coupling,
            **options,
        )
        for coupling in ("standard", "decoupled")
    )
    return float(np.linalg.norm(standard - decoupled) / np.linalg.norm(standard))


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
    _check_names("coupling", [coupling], ("standard", "decoupled"))
    input_dim = samples.shape[1]
    rates = _Rates.of(
        parametrization, depth, input_dim, horizon, correction, trainable, block_layers
    )
    branch = rates.branch if skip else (sqrt(2.0) if activation == "relu" else 1.0)
    gram = samples @ samples.T / input_dim

    streams, blocks = [gram], []
    for _ in range(depth):
        # With two layers, the pre-activation W1 h has the covariance of h.
        blocks.append(_moments(streams[-1], activation))
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
        hidden = _HIDDEN[block_layers]
        _check_names("trainable", trainable, ("input", "hidden", *hidden, "output"))
        trained = {*trainable, *(hidden if "hidden" in trainable else ())}
        _check_names("parametrization", [parametrization], FEATURE_LEARNING)
        row = PARAMETRIZATIONS[parametrization]
        # Mup's powers of the width cancel against those of the fields, and at width 1 they are 1.
        scales = row.scales(1, depth, input_dim, horizon=horizon, correction=correction)
        factors = {r: scales[r].learning_rate * (r in trained) for r in scales.roles}
        return cls(scales.branch, **factors)


def _loss_derivative(outputs: np.ndarray, targets: np.ndarray, loss: str) -> np.ndarray:
    if loss == "mse":
        return outputs - targets
    weights = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) - targets


# --- Linear networks, all steps ------------------------------------------------------------------


def linear_outputs(
    inputs: np.ndarray,
    targets: np.ndarray,
    batches: np.ndarray,
    *,
    depth: int,
    learning_rate: float,
    horizon: float = 1.0,
    loss: str = "mse",
    parametrization: str = "depth_mup",
    coupling: str = "standard",
    trainable: Sequence[str] = ("input", "hidden", "output"),
) -> np.ndarray:
    """Outputs (K+1, S, C) of a linear one-layer-block network of infinite width under SGD, exactly.

    inputs (S, d), targets (S, C), batches (K, B) sample ids. Tensor Programs (arXiv:2310.02244,
    section 4): a product W h is a Gaussian symbol, of covariance <h, h'>/n, plus for every earlier
    W^T g the vector g times the derivative of h by the symbol of W^T g; likewise for W^T g. Without
    nonlinearities every vector stays a linear combination of the symbols, with fixed coefficients, so
    inner products, and with them the outputs, are numbers. Decoupled networks drop the derivatives.
    """
    inputs, targets = np.asarray(inputs, float), np.asarray(targets, float)
    _check_names("loss", [loss], ("mse", "cross_entropy"))
    program = _LinearProgram(
        inputs,
        targets.shape[1],
        np.asarray(batches),
        _Rates.of(parametrization, depth, inputs.shape[1], horizon, 0.5, trainable, 1),
        depth,
        learning_rate,
        coupling,
    )
    outputs = []
    for step in range(len(batches) + 1):
        outputs.append(program.forward(step))
        if step < len(batches):
            program.backward(step, _loss_derivative(outputs[-1], targets, loss))
    return np.array(outputs)


class _LinearProgram:
    """Coefficients of all vectors of a linear network's training, and their inner products.

    A vector is a row of coefficients over the symbols: d columns of U, C rows of V, and per layer one
    symbol for each W h (steps x samples) and each W^T g (steps x batch). Symbols of different kinds or
    layers are independent; ``forward_gram`` and ``backward_gram`` hold the covariances within a layer.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        classes: int,
        batches: np.ndarray,
        rates: _Rates,
        depth: int,
        learning_rate: float,
        coupling: str,
    ):
        _check_names("coupling", [coupling], ("standard", "decoupled"))
        (samples, dim), (steps, batch) = inputs.shape, batches.shape
        self.inputs, self.batches, self.rates, self.depth = inputs, batches, rates, depth
        self.rate = learning_rate / batch
        self.coupled = coupling == "standard"
        forward, backward = (steps + 1) * samples, steps * batch
        self.plain = dim + classes
        self.size = self.plain + depth * (forward + backward)
        self.forward_symbols = self.plain + np.arange(depth * forward).reshape(depth, forward)
        self.backward_symbols = (
            self.plain + depth * forward + np.arange(depth * backward).reshape(depth, backward)
        )
        self.forward_gram = np.zeros((depth, forward, forward))
        self.backward_gram = np.zeros((depth, backward, backward))
        self.h = np.zeros((depth + 1, forward, self.size))
        self.g = np.zeros((depth + 1, backward, self.size))
        self.readout = np.zeros((classes, self.size))
        self.readout[:, dim : self.plain] = np.eye(classes)

    def forward(self, step: int) -> np.ndarray:
        """Features of all samples at ``step``; returns the outputs (S, C)."""
        samples, dim = self.inputs.shape
        new = slice(step * samples, (step + 1) * samples)
        old_g = slice(0, step * self.batches.shape[1])
        learned = self.inputs[self.batches[:step].ravel()]
        branch = self.rates.branch
        h = np.zeros((samples, self.size))
        h[:, :dim] = self.inputs / sqrt(dim)
        h -= self.rate * self.rates.input * (self.inputs @ learned.T / dim) @ self.g[0, old_g]
        self.h[0, new] = h
        for layer in range(self.depth):
            gram = self._inner(self.h[layer, : new.stop], h)
            self.forward_gram[layer, : new.stop, new] = gram
            self.forward_gram[layer, new, : new.stop] = gram.T
            weights = -self.rate * self.rates.hidden_2 * branch * gram[self._learned_rows(step)].T
            if self.coupled:
                weights += h[:, self.backward_symbols[layer, old_g]]
            product = weights @ self.g[layer + 1, old_g]
            product[np.arange(samples), self.forward_symbols[layer, new]] += 1
            h = h + branch * product
            self.h[layer + 1, new] = h
        return self._inner(h, self.readout)

    def backward(self, step: int, chi: np.ndarray) -> None:
        """Gradients of the batch of ``step`` from chi (S, C) of all samples, and the new readout."""
        size = self.batches.shape[1]
        new, old_g = slice(step * size, (step + 1) * size), slice(0, step * size)
        seen_h = slice(0, (step + 1) * len(self.inputs))
        chi = chi[self.batches[step]]
        branch = self.rates.branch
        g = chi @ self.readout
        for layer in reversed(range(self.depth)):
            self.g[layer + 1, new] = g
            gram = self._inner(self.g[layer + 1, : new.stop], g)
            self.backward_gram[layer, : new.stop, new] = gram
            self.backward_gram[layer, new, : new.stop] = gram.T
            weights = -self.rate * self.rates.hidden_2 * branch * gram[old_g].T
            product = weights @ self.h[layer, self._learned_rows(step)]
            if self.coupled:
                product += g[:, self.forward_symbols[layer, seen_h]] @ self.h[layer, seen_h]
            product[np.arange(size), self.backward_symbols[layer, new]] += 1
            g = g + branch * product
        self.g[0, new] = g
        features = self.h[self.depth, step * len(self.inputs) + self.batches[step]]
        self.readout = self.readout - self.rate * self.rates.output * chi.T @ features

    def _learned_rows(self, step: int) -> np.ndarray:
        """Rows of ``h`` that belong to the rows of ``g`` before ``step``."""
        steps = np.arange(step)[:, None]
        return (steps * len(self.inputs) + self.batches[:step]).ravel()

    def _inner(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """<a, b> / n for all pairs of rows."""
        total = a[:, : self.plain] @ b[:, : self.plain].T
        for symbols, grams in (
            (self.forward_symbols, self.forward_gram),
            (self.backward_symbols, self.backward_gram),
        ):
            for row, gram in zip(symbols, grams, strict=True):
                span = slice(row[0], row[-1] + 1)
                total += a[:, span] @ (gram @ b[:, span].T)
        return total


# --- From finite depth and particles to the limit -------------------------------------------------


class Extrapolation(NamedTuple):
    """A limit and its standard error over seeds, both of the shape of one value."""

    limit: np.ndarray
    standard_error: np.ndarray


def extrapolate_depth(
    depths: Sequence[int], values: np.ndarray, order: int | None = None
) -> Extrapolation:
    """Richardson extrapolation to infinite depth, with an error bar from the seeds.

    ``values`` (depths, seeds, ...), paired by seed. Each seed's values are fitted by a polynomial in
    1/L of degree ``order`` (default: one less than the number of depths, which for depths L and 2L is
    2 f_2L - f_L), and its value at 1/L = 0 is averaged over seeds. The error bar is statistical only.
    """
    values = np.asarray(values, float)
    order = len(depths) - 1 if order is None else order
    if len(set(depths)) != len(values) or not 0 < order < len(depths):
        raise ValueError(
            "depths: need one row of values per distinct depth and more depths than the order, >= 1"
        )
    steps = 1 / np.asarray(depths, float)
    weights = np.linalg.pinv(np.vander(steps, order + 1, increasing=True))[0]
    per_seed = np.tensordot(weights, values, axes=1)
    seeds = len(per_seed)
    spread = per_seed.std(axis=0, ddof=1) if seeds > 1 else np.full(per_seed.shape[1:], np.nan)
    return Extrapolation(per_seed.mean(axis=0), spread / sqrt(seeds))


def limit_bytes(
    particles: int,
    *,
    depth: int,
    forward_vectors: int,
    backward_vectors: int,
    block: int,
    block_layers: int = 1,
    itemsize: int = 4,
) -> int:
    """Memory in bytes of :func:`nfd.limit.simulate_limit`, the libraries (about 0.4 GB) not counted.

    ``forward_vectors``: samples passed forward, summed over the K + 1 evaluations; ``backward_vectors``
    the same backward; ``block``: the most samples passed forward at once.
    """
    vectors = min(forward_vectors, particles) + min(backward_vectors, particles)
    # Two arrays per side and matrix; slopes (at most one block per layer); two dozen blocks in work.
    arrays = depth * (2 * block_layers * vectors + block) + 24 * block
    learned = min(forward_vectors, particles) * min(backward_vectors, particles)
    return (arrays * particles + depth * block_layers * learned) * itemsize
