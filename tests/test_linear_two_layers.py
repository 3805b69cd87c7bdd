"""Two-layer linear blocks of branch T/L: the simulation against a system of ordinary equations.

An independent witness of both limits. In a block A = W1 / sqrt(n), B = W2 / sqrt(n) under complete_p, SGD
with rate eta on both makes of them, at step k and with batches of size b,

    A_k = A_0 - (eta T / b) sum_{i<k} u_i h_i^T / n,        u_i = B_i^T g_i
    B_k = B_0 - (eta T / b) sum_{i<k} g_i x_i^T / n,        x_i = A_i h_i

where i runs over the samples of all steps, h_i enters the block and g_i leaves it backward. As n -> infinity,
A_0 h and B_0^T g are orthogonal, and as L -> infinity only what is coherent over blocks is left of
dh/dt = B_k A_k h and -dg/dt = A_k^T B_k^T g: the learned terms, and B_0 B_0^T g = g and A_0^T A_0 h = h, the
*response* of reused weights, which NFD lacks. So all is in the span of the embeddings U x / sqrt(d) and of
the rows of V, which stay as drawn, and closes on the coordinates in it: no matrix, width or noise enters.
Such limits with a response are the subject of arXiv:2603.18168; what stands here is derived for this test.
"""

from functools import cache

import numpy as np
import pytest

from nfd.limit.problem import LimitProblem
from nfd.limit.simulate import simulate_limit

RATE, HORIZON, STEPS = 0.5, 1.0, 3
SEEDS, PARTICLES = 6, 2048
RNG = np.random.default_rng(11)
INPUTS = RNG.standard_normal((3, 6))
TARGETS = RNG.standard_normal((3, 2))
BATCHES = np.array([[0, 1], [1, 2], [0, 2], [0, 1]])[:STEPS]


class Side:
    """One side of the blocks: the streams h with the vectors A_0 h, or g with B_0^T g.

    ``stream`` (vectors, points + 1, span) over the embeddings and the rows of V; ``inner`` (vectors, points,
    2, vectors): x (or u) of each vector inside each block, over the vectors of its own side and of the other.
    """

    def __init__(self, vectors: int, points: int, span: int) -> None:
        self.stream = np.zeros((vectors, points + 1, span))
        self.inner = np.zeros((vectors, points, 2, vectors))


class LinearLimit:
    """The limit on ``points`` blocks; without ``response``, E B_0 B_0^T g = g and its mirror are left out."""

    def __init__(self, points: int, *, response: bool = True) -> None:
        self.points, self.response = points, response
        self.samples, outputs = len(INPUTS), TARGETS.shape[1]
        self.gram = np.zeros((self.samples + outputs,) * 2)
        self.gram[: self.samples, : self.samples] = INPUTS @ INPUTS.T / INPUTS.shape[1]
        self.gram[self.samples :, self.samples :] = np.eye(outputs)
        vectors = BATCHES.size + 1  # one more for samples that are only looked at
        self.forward, self.backward = (Side(vectors, points, len(self.gram)) for _ in range(2))

    def outputs(self, step: int) -> np.ndarray:
        """Outputs (samples, C) before ``step``."""
        return np.array([self._outputs(s, -1, step) for s in range(self.samples)])

    def _outputs(self, sample: int, slot: int, step: int) -> np.ndarray:
        self._pass(np.eye(len(self.gram))[sample], slot, step, forward=True)
        return self.forward.stream[slot, -1, self.samples :].copy()

    def train(self) -> np.ndarray:
        """Outputs (steps + 1, samples, C) at infinite width."""
        seen = [self.outputs(0)]
        for step, batch in enumerate(BATCHES):
            for place, sample in enumerate(batch):
                slot = step * len(batch) + place
                chi = self._outputs(sample, slot, step) - TARGETS[sample]
                start = np.concatenate([np.zeros(self.samples), chi])
                self._pass(start, slot, step, forward=False)
            seen.append(self.outputs(step + 1))
        return np.array(seen)

    def _pass(self, start: np.ndarray, slot: int, step: int, *, forward: bool) -> None:
        """Pass a vector through all blocks as they are before ``step``."""
        sides = (self.forward, self.backward)
        mine, other = sides if forward else sides[::-1]
        learned = slice(0, step * BATCHES.shape[1])
        rate = -RATE * HORIZON / BATCHES.shape[1]
        mine.stream[slot, 0 if forward else -1] = start
        for t in range(self.points) if forward else reversed(range(self.points)):
            # h stands before its block, g behind it.
            enters, leaves = (t, t + 1) if forward else (t + 1, t)
            near, far = mine.stream[:, enters], other.stream[:, leaves]
            overlap = near[learned] @ self.gram @ near[slot]
            inner = rate * np.tensordot(overlap, other.inner[learned, t, ::-1], axes=1)
            inner[0, slot] += 1.0
            mine.inner[slot, t] = inner
            # The overlaps inside the block, <x_i, x>/n or <u_i, u>/n.
            kernels = (near @ self.gram @ near.T, far @ self.gram @ far.T)
            overlap = sum(
                mine.inner[learned, t, k] @ kernel @ inner[k] for k, kernel in enumerate(kernels)
            )
            change = rate * overlap @ far[learned]
            if self.response:
                change = change + inner[1] @ far
            mine.stream[slot, leaves] = near[slot] + HORIZON / self.points * change


@cache
def limit(*, response: bool = True) -> np.ndarray:
    """Outputs (steps + 1, samples, C), infinitely deep by Richardson's extrapolation in 1/points."""
    coarse, fine = (LinearLimit(points, response=response).train() for points in (128, 256))
    return 2 * fine - coarse


@cache
def simulated(depth: int, coupling: str) -> np.ndarray:
    """Outputs (seeds, steps + 1, samples, C) of the simulation, without what is odd in V."""
    problem = LimitProblem(
        inputs=INPUTS,
        targets=TARGETS,
        batches=BATCHES,
        depth=depth,
        learning_rate=RATE,
        horizon=HORIZON,
        activation="linear",
        block_layers=2,
        parametrization="complete_p",
        trainable=("hidden",),
        probes=(),
        coupling=coupling,
    )
    signs = ((), ("output",))
    runs = [
        [simulate_limit(problem, PARTICLES, seed, negate=sign).outputs for sign in signs]
        for seed in range(SEEDS)
    ]
    return np.mean(runs, axis=1)


def distance(outputs: np.ndarray, exact: np.ndarray) -> float:
    """Root mean square over samples, components and steps after the first."""
    return float(np.sqrt(((outputs - exact)[1:] ** 2).mean()))


# NFD, whose backward pass has a copy of its own, is the system without the response.
@pytest.mark.parametrize(("coupling", "response"), [("standard", True), ("decoupled", False)])
def test_simulations_extrapolate_to_the_system_of_equations(coupling, response):
    shallow, deep = simulated(8, coupling), simulated(16, coupling)
    runs = 2 * deep - shallow
    error = runs.std(axis=0, ddof=1)[1:] / np.sqrt(SEEDS)
    found = (runs.mean(axis=0) - limit(response=response))[1:]
    # 18 numbers with t of 5 degrees of freedom and correlated: each passes 6 once in a thousand times.
    assert (np.abs(found) < 6 * error).all()
    assert distance(runs.mean(axis=0), limit(response=response)) < 0.03
    # The control: the other reading is ten times as far as that.
    assert distance(runs.mean(axis=0), limit(response=not response)) > 0.2


def test_outputs_come_nearer_as_one_over_depth():
    errors = [distance(simulated(L, "standard").mean(axis=0)[:2], limit()[:2]) for L in (4, 8, 16)]
    slope = np.polyfit(np.log([4, 8, 16]), np.log(errors), 1)[0]
    assert -1.3 < slope < -0.75  # the noise of 6 seeds moves it by about 0.1
