"""Exact answers that only tests ask for; they share no code with the package.

* norms of features and gradients at initialisation (docs/theory.md, section 5): :func:`feature_norm`,
  :func:`gradient_norm`;
* linear networks, all steps, from the Tensor Programs recursion: :func:`linear_outputs`;
* from finite depths to infinite depth, with an error bar: :func:`extrapolate_depth`.
"""

from collections.abc import Sequence
from math import exp, inf, sqrt
from typing import NamedTuple

import numpy as np
import reference

# --- One sample with |x|^2 = d, at initialisation, one-layer blocks, depth_mup ----------------------

ENERGY = {"relu": 0.5, "linear": 1.0}  # q: E phi(h)^2 = q E h^2


def growth(horizon: float, depth: float, activation: str, power: float) -> float:
    """(1 + qT/L)^(L power), or e^(qT power) for infinite ``depth``."""
    rate = ENERGY[activation] * horizon
    return exp(rate * power) if depth == inf else (1 + rate / depth) ** (depth * power)


def feature_norm(
    time: float, *, horizon: float = 1.0, depth: float = inf, activation: str = "relu"
) -> float:
    """E[h_l^2] at ``time`` l/L."""
    return growth(horizon, depth, activation, time)


def gradient_norm(
    time: float, *, horizon: float = 1.0, depth: float = inf, activation: str = "relu"
) -> float:
    """E[g_l^2] / chi^2 at ``time`` l/L."""
    return growth(horizon, depth, activation, 1 - time)


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
    program = LinearProgram(
        inputs,
        targets.shape[1],
        np.asarray(batches),
        rates_of(parametrization, depth, inputs.shape[1], horizon, trainable),
        depth,
        learning_rate,
        coupling,
    )
    outputs = []
    for step in range(len(batches) + 1):
        outputs.append(program.forward(step))
        if step < len(batches):
            program.backward(step, reference.loss_and_chi(outputs[-1], targets, loss)[1])
    return np.array(outputs)


class Rates(NamedTuple):
    """Branch factor, and per role the learning-rate factor left at infinite width; 0 if not trained."""

    branch: float
    input: float
    hidden_2: float
    output: float


def rates_of(
    name: str, depth: int, input_dim: int, horizon: float, trainable: Sequence[str]
) -> Rates:
    """Of one-layer blocks. Mup's powers of the width cancel against those of the fields: width 1."""
    branch, cells = reference.scales(name, 1, depth, input_dim, horizon)
    trained = {"hidden_2" if role == "hidden" else role for role in trainable}
    factors = {role: cells[role][1] * (role in trained) for role in ("input", "hidden_2", "output")}
    return Rates(branch, **factors)


class LinearProgram:
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
        rates: Rates,
        depth: int,
        learning_rate: float,
        coupling: str,
    ):
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
