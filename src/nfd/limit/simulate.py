"""Simulating the limit, and the same of a network with real matrices."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from nfd.limit.dense import DenseNetwork
from nfd.limit.memory import is_written_out
from nfd.limit.network import MatrixFreeNetwork
from nfd.limit.problem import LimitProblem
from nfd.limit.trajectory import LimitTrajectory, Record, Seen
from nfd.network.losses import LOSSES
from nfd.network.roles import Role


class LimitNetwork(Seen, Protocol):
    """A network in training that :func:`follow` can drive."""

    branch: float

    def forward(self, ids: np.ndarray, kept_ids: np.ndarray, probe_ids: np.ndarray) -> np.ndarray:
        """Outputs (F, C) of the samples ``ids``; keeps what backward needs of ``kept_ids``.

        The probes ``probe_ids``, among the kept ones, are looked at on the way.
        """

    def backward(self, chi: np.ndarray) -> None:
        """Passes the loss derivatives (R, C) of the kept samples back."""

    def learn(self, step: int) -> None:
        """SGD step number ``step``."""


def simulate_limit(
    problem: LimitProblem,
    particles: int,
    seed: int,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    noise_depth: int | None = None,
    negate: Sequence[Role] = (),
) -> LimitTrajectory:
    """The trajectory of a network of width ``particles`` under ``problem``, exact in law.

    All randomness derives from ``seed``. Two options correlate runs and leave the law of each run
    unchanged. ``noise_depth``, a multiple of the depth: each layer draws its noise as the normalised
    sum of the noises of the noise_depth / depth finest layers in its place, so that runs of different
    depth share one Brownian path. ``negate``: roles whose initial weights are the negative of the plain
    run's, so that in the mean over signs what is odd in them cancels: f at initialisation for
    "output", the leading fluctuation of the norms for "hidden_2" and "input".
    """
    network = MatrixFreeNetwork(
        problem,
        particles,
        seed,
        device=device,
        dtype=dtype,
        noise_depth=noise_depth,
        negate=negate,
        written_out=is_written_out(particles, *problem.vectors, problem.coupling),
    )
    return follow(problem, network)


def simulate_dense(
    problem: LimitProblem,
    width: int,
    seed: int,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LimitTrajectory:
    """The same trajectory from a network with real matrices, trained by :mod:`nfd.training`.

    Equal in law to :func:`simulate_limit` with ``width`` particles; its seeds are those of networks.
    """
    return follow(problem, DenseNetwork(problem, width, seed, device=device, dtype=dtype))


@torch.no_grad()
def follow(problem: LimitProblem, network: LimitNetwork) -> LimitTrajectory:
    """Train a network, matrix-free or dense, and record what is seen on the way."""
    record = Record(problem, network.branch)
    for step in range(problem.steps + 1):
        ids, kept = problem.forward_ids(step), problem.backward_ids(step)
        if not len(ids):  # trained to the end, and nobody looks
            break
        try:
            outputs = network.forward(ids, kept, problem.probed_ids(step))
            losses, chi = _loss_and_chi(problem, ids, outputs)
            network.backward(chi[np.isin(ids, kept)])
        except FloatingPointError:
            record.trajectory.diverged_at = step
            break
        record.write(step, outputs, losses, network)
        if step < problem.steps:
            network.learn(step)
    return record.trajectory


def _loss_and_chi(
    problem: LimitProblem, ids: np.ndarray, outputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Loss (F,) of the samples ``ids`` at outputs (F, C), and its derivative by them, (F, C)."""
    targets = torch.from_numpy(problem.target_values[ids])
    losses, chi = LOSSES[problem.loss].value_and_chi(torch.from_numpy(outputs), targets)
    return losses.numpy(), chi.numpy()
