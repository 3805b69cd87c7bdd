"""What is seen of a network on its way, matrix-free or dense."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nfd.limit.problem import LimitProblem


class Seen(Protocol):
    """What a pass over the probes leaves behind; shapes as one step of a :class:`LimitTrajectory`."""

    feature_kernel: np.ndarray
    gradient_kernel: np.ndarray
    coupling: np.ndarray


@dataclass(eq=False)
class LimitTrajectory:
    """What was seen before each step k < K and, last, after the final step. All arrays are float64.

    What was not looked at is NaN: at a step that is not observed, all but the outputs and the loss of its
    batch. outputs (K+1, S, C): of the samples evaluated, and of the batch; NaN elsewhere. losses (K+1,):
    mean loss of batch k before step k; the last entry is the loss of the last batch after its step.
    train_losses, test_losses (K+1,): mean over the evaluated samples that occur in a batch, and that
    occur in none (NaN if there are none). feature_kernel (K+1, L+1, P, P): h_l h_l^T / n over the
    probes for l = 0..L. gradient_kernel (K+1, L+1, P, P): g_l g_l^T / n, g including each probe's own
    loss derivative. coupling (K+1, L, P): c_l = <W_l^0T g_l, phi(h_{l-1})> / n^(3/2), with W^0 the
    initial weights of the forward pass (NaN for two-layer blocks). From the step ``diverged_at`` on,
    if that is not None, numbers were not finite and all values are NaN.
    """

    probe_ids: np.ndarray
    branch: float
    outputs: np.ndarray
    losses: np.ndarray
    train_losses: np.ndarray
    test_losses: np.ndarray
    feature_kernel: np.ndarray
    gradient_kernel: np.ndarray
    coupling: np.ndarray
    diverged_at: int | None = None

    @property
    def output_change(self) -> np.ndarray:
        """(K+1,): root mean square over probes and outputs of f^k - f^0."""
        change = (self.outputs - self.outputs[0])[:, self.probe_ids]
        return np.sqrt((change**2).mean(axis=(1, 2)))

    @property
    def coupling_layer(self) -> np.ndarray:
        """(K+1,): root mean square over layers and probes of c_l."""
        return np.sqrt((self.coupling**2).mean(axis=(1, 2)))

    @property
    def coupling_accumulated(self) -> np.ndarray:
        """(K+1,): root mean square over probes of branch * sum over l of c_l."""
        return np.sqrt(((self.branch * self.coupling.sum(axis=1)) ** 2).mean(axis=1))

    @property
    def kernel_min_eigenvalue(self) -> np.ndarray:
        """(K+1,): least eigenvalue of the probes' kernel h_L h_L^T / n."""
        last = self.feature_kernel[:, -1]
        finite = np.isfinite(last).all(axis=(1, 2))
        least = np.full(len(last), np.nan)
        least[finite] = np.linalg.eigvalsh(last[finite])[:, 0]
        return least


class Record:
    """Fills a trajectory step by step."""

    def __init__(self, problem: LimitProblem, branch: float):
        self.problem = problem
        steps, depth, probes = problem.steps + 1, problem.depth, len(problem.probe_ids)

        def empty(*shape: int) -> np.ndarray:
            return np.full((steps, *shape), np.nan)

        self.trajectory = LimitTrajectory(
            problem.probe_ids,
            branch,
            outputs=empty(*problem.target_values.shape),
            losses=empty(),
            train_losses=empty(),
            test_losses=empty(),
            feature_kernel=empty(depth + 1, probes, probes),
            gradient_kernel=empty(depth + 1, probes, probes),
            coupling=empty(depth, probes),
        )

    def write(
        self,
        step: int,
        outputs: np.ndarray,
        losses: np.ndarray,
        seen: Seen,
    ) -> None:
        """Outputs (F, C) and losses (F,) of the samples passed at ``step``, and what the pass ``seen``."""
        problem, trajectory = self.problem, self.trajectory
        ids, evaluated = problem.forward_ids(step), problem.evaluated_ids
        trajectory.outputs[step, ids] = outputs
        batch = np.searchsorted(ids, problem.batch_before(step))
        trajectory.losses[step] = losses[batch].mean()
        if not problem.is_observed(step):
            return
        in_a_batch = np.isin(ids, problem.batches)
        trajectory.train_losses[step] = _mean(losses[in_a_batch & np.isin(ids, evaluated)])
        trajectory.test_losses[step] = _mean(losses[~in_a_batch])
        trajectory.feature_kernel[step] = seen.feature_kernel
        trajectory.gradient_kernel[step] = seen.gradient_kernel
        trajectory.coupling[step] = seen.coupling


def _mean(values: np.ndarray) -> float:
    return values.mean() if len(values) else np.nan
