"""A network of particles; its hidden matrices are built only where that is cheaper (docs/theory.md)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nfd.choices import check_choice
from nfd.limit.gaussian import GaussianMatrix, Noise
from nfd.limit.hidden import HiddenMatrix, RevealedMatrix, WrittenMatrix
from nfd.limit.problem import LimitProblem
from nfd.network.activations import ACTIVATIONS
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.roles import ROLES, Role
from nfd.seeds import generator


class MatrixFreeNetwork:
    """A network of ``particles`` neurons with matrix-free hidden weights, and its last pass.

    ``written_out``: with their entries instead, which changes the random numbers drawn, not the law.
    """

    def __init__(
        self,
        problem: LimitProblem,
        particles: int,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        noise_depth: int | None = None,
        negate: Sequence[Role] = (),
        written_out: bool = False,
    ):
        noise_depth = noise_depth or problem.depth
        if noise_depth % problem.depth:
            raise ValueError(
                f"noise_depth: {noise_depth} is not a multiple of the depth {problem.depth}"
            )
        for role in negate:
            check_choice("negate", role, ROLES)
        self.problem, self.particles, self.seed, self.negate = problem, particles, seed, negate
        self.device, self.dtype = torch.device(device), dtype
        self.written_out = written_out
        architecture = problem.architecture(particles)
        self.scales = PARAMETRIZATIONS[problem.parametrization].scales(
            particles,
            problem.depth,
            problem.inputs.shape[1],
            horizon=problem.horizon,
            correction=problem.correction,
        )
        self.branch = architecture.branch_factor(self.scales)
        self.inputs = self._tensor(problem.inputs)
        classes = problem.target_values.shape[1]
        # Held as (d, n) and (C, n), so that vectors are rows as everywhere.
        self.input_weights = self._noise("input").draw(self.inputs.shape[1])
        self.output_weights = self._noise("output").draw(classes)
        self.blocks = [self._block(layer, noise_depth) for layer in range(problem.depth)]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=self.dtype, device=self.device)

    def _noise(self, *names: str | int, cells: Sequence[int] = (0,)) -> Noise:
        seeds = [int(generator(self.seed, "limit", *names, cell).integers(2**63)) for cell in cells]
        sign = -1 if names[0] in self.negate else 1
        return Noise(self.particles, seeds, self.dtype, self.device, sign)

    def _block(self, layer: int, noise_depth: int) -> list[HiddenMatrix]:
        """The hidden matrices of one block, first to last."""
        problem = self.problem
        per_layer = noise_depth // problem.depth
        cells = range(layer * per_layer, (layer + 1) * per_layer)
        block: list[HiddenMatrix] = []
        for role in problem.hidden_roles:
            forward = self._noise(role, "forward", cells=cells)
            backward = self._noise(role, "backward", cells=cells)
            multiplier = self.scales[role].multiplier
            # A block's derivative by the product of its last matrix also carries the branch factor.
            rate = self._rate(role) * (self.branch if role == "hidden_2" else 1.0) / self.particles
            if self.written_out:
                block.append(WrittenMatrix(forward, backward, problem.coupling, multiplier, rate))
            else:
                initial = GaussianMatrix(forward, backward, *problem.vectors, problem.coupling)
                block.append(RevealedMatrix(initial, multiplier, rate))
        return block

    def _rate(self, role: Role) -> float:
        """What a role's SGD step multiplies the loss derivative by the role's product with."""
        if role not in self.problem.trained_roles:
            return 0.0
        scale = self.scales[role]
        return -self.problem.learning_rate * scale.learning_rate * scale.multiplier

    def forward(self, ids: np.ndarray, kept_ids: np.ndarray, probe_ids: np.ndarray) -> np.ndarray:
        """Outputs (F, C) of the samples ``ids``; keeps what :meth:`backward` needs of ``kept_ids``.

        The probes ``probe_ids``, among the kept ones, are looked at on the way. Raises FloatingPointError
        when numbers are no longer finite.
        """
        activation, skip = ACTIVATIONS[self.problem.activation], self.problem.skip
        self.kept_ids, self.probe_ids = kept_ids, probe_ids
        self.kept = rows_of(ids, kept_ids)
        probes = rows_of(ids, probe_ids)
        self.slopes, kernels = [], []
        h = self.inputs[ids] @ self.input_weights * self.scales["input"].multiplier
        for block in self.blocks:
            kernels.append(self._kernel(h[probes]))
            inside = h
            if len(block) == 2:
                inside = block[0].forward(h).mul_(block[0].multiplier)
            self.slopes.append(activation.derivative(inside[self.kept]))
            phi = activation.value(inside, torch.empty_like(inside))
            change, scale = block[-1].forward(phi), self.branch * block[-1].multiplier
            h = h.add_(change, alpha=scale) if skip else change.mul_(scale)
        kernels.append(self._kernel(h[probes]))
        self.features, self.feature_kernel = h[self.kept], np.stack(kernels)
        return finite(h @ self.output_weights.T * self.scales["output"].multiplier)

    def backward(self, chi: np.ndarray) -> None:
        """Pass the loss derivatives (R, C) of the kept samples back to the input."""
        depth, probed = self.problem.depth, len(self.probe_ids)
        probes = rows_of(self.kept_ids, self.probe_ids)
        self.coupling = np.full((depth, probed), np.nan)
        self.chi = self._tensor(chi)
        g = self.chi @ self.output_weights
        kernels = [self._kernel(g[probes])]
        for layer in reversed(range(depth)):
            block = self.blocks[layer]
            if probed and len(block) == 1:
                self.coupling[layer] = self._coupling(block[0], g)[probes]
            below, scale = block[-1].backward(g), self.branch * block[-1].multiplier
            below.mul_(self.slopes[layer])
            if len(block) == 2:
                below, scale = block[0].backward(below.mul_(scale)), block[0].multiplier
            g = g.add_(below, alpha=scale) if self.problem.skip else below.mul_(scale)
            kernels.append(self._kernel(g[probes]))
        self.gradients, self.gradient_kernel = g, np.stack(kernels[::-1])

    def learn(self, step: int) -> None:
        """SGD step number ``step``, on the batch mean of the loss."""
        weights = self._tensor(_batch_weights(self.problem.batches[step], self.kept_ids))
        for block in self.blocks:
            for matrix in block:
                matrix.learn(self.kept, weights)
        inputs = self.inputs[self.kept_ids] * weights[:, None]
        rate = self._rate("input") / self.particles
        self.input_weights.addmm_(inputs.T, self.gradients, alpha=rate)
        chi = self.chi * weights[:, None]
        self.output_weights.addmm_(chi.T, self.features, alpha=self._rate("output"))

    def _kernel(self, fields: Tensor) -> np.ndarray:
        return (fields @ fields.T).double().cpu().numpy() / self.particles

    def _coupling(self, matrix: HiddenMatrix, g: Tensor) -> np.ndarray:
        products = (matrix.initial_forward(self.kept) * g).sum(dim=1).double().cpu().numpy()
        return matrix.multiplier * products / self.particles


def _batch_weights(batch: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Weight of each sample of ``ids`` in the batch mean: how often it occurs, over B."""
    return (np.asarray(batch)[None, :] == ids[:, None]).sum(axis=1) / len(batch)


def rows_of(ids: np.ndarray, chosen: np.ndarray) -> slice | np.ndarray:
    """Rows of the samples ``chosen`` in a block of the samples ``ids`` (sorted)."""
    return slice(None) if np.array_equal(ids, chosen) else np.searchsorted(ids, chosen)


def finite(outputs: Tensor) -> np.ndarray:
    """``outputs`` as float64 numpy. Raises FloatingPointError if they are not finite."""
    values = outputs.double().cpu().numpy()
    if not np.isfinite(values).all():
        raise FloatingPointError("the outputs are not finite")
    return values
