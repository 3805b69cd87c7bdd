"""A network with real matrices, watched as a matrix-free one is."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from nfd.limit.network import finite, rows_of
from nfd.limit.problem import LimitProblem
from nfd.network.stack import LayerGradient, Trace
from nfd.training.batches import TrainingData
from nfd.training.trainer import Member, Trainer


class DenseNetwork:
    """A network trained by :mod:`nfd.training`; what passes leave behind is as for a matrix-free one."""

    def __init__(
        self,
        problem: LimitProblem,
        width: int,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.problem, self.width = problem, width
        member = Member(
            problem.parametrization,
            problem.learning_rate,
            seed,
            problem.coupling,
            tuple(problem.trained_roles),
            problem.correction,
        )
        self.trainer = Trainer(
            problem.architecture(width),
            [member],
            TrainingData(problem.inputs, problem.target_values, problem.batches),
            loss=problem.loss,
            optimizer="sgd",
            root_seed=0,
            device=device,
            dtype=dtype,
        )
        self.stack = self.trainer.stack
        self.branch = self.stack.architecture.branch_factor(self.stack.scales[0])

    def forward(self, ids: np.ndarray, kept_ids: np.ndarray, probe_ids: np.ndarray) -> np.ndarray:
        """Outputs (F, C) of the samples ``ids``; the trace of the kept ones stays for backward."""
        self.probes = rows_of(kept_ids, probe_ids)
        self.trace = Trace(self.stack, len(kept_ids))
        self.stack.forward(self.trainer.inputs[None, kept_ids], self.trace)
        self.feature_kernel = np.stack([self._kernel(h) for h in self._streams()])
        return finite(self.stack.forward(self.trainer.inputs[None, ids])[0])

    def _streams(self) -> Iterator[Tensor]:
        """h_0 to h_L of the kept samples, from the trace."""
        h = self.trace.inputs @ self.stack.weights["input"][0].mT
        yield h
        for phi, weight in zip(self.trace.phi, self.stack.weights["hidden_2"], strict=True):
            change = phi @ weight.mT
            h = h + change if self.problem.skip else change
            yield h

    def backward(self, chi: np.ndarray) -> None:
        """Kernels and coupling of the gradients from chi (R, C) of the kept samples."""
        kernels, couplings = [], []

        def visit(seen: LayerGradient) -> None:
            if seen.role in ("hidden_2", "input"):
                kernels.append(self.width**2 * self._kernel(seen.error))
            if seen.role == "hidden_2":
                # The effective weight carries branch / sqrt n; the error is g / n.
                initial = self.stack.initial("hidden_2", seen.layer, [0])
                overlap = ((seen.feature @ initial.mT) * seen.error)[0, self.probes].sum(dim=1)
                couplings.append(overlap.double().cpu().numpy() / self.branch)

        self.stack.backward(
            torch.as_tensor(chi).to(self.stack.weights["output"][0])[None], self.trace, visit
        )
        self.gradient_kernel = np.stack(kernels[::-1])
        self.coupling = np.stack(couplings[::-1])
        if self.problem.block_layers == 2:
            self.coupling[:] = np.nan

    def learn(self, step: int) -> None:
        """SGD step number ``step``."""
        self.trainer.advance()

    def _kernel(self, fields: Tensor) -> np.ndarray:
        chosen = fields[0, self.probes]
        return (chosen @ chosen.T).double().cpu().numpy() / self.width
