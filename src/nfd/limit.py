"""The infinite-width limit, simulated with particles (docs/theory.md, sections 3 and 4).

A network of width n is simulated by n particles: every hidden matrix is a
:class:`nfd.gaussian.GaussianMatrix`, which is exact in law for every finite n, so that the limit is
approached as n grows at a cost linear in n. ``coupling="standard"`` gives the coupled limit of real
training, ``coupling="decoupled"`` the dynamics in which the backward pass uses an independent copy of
the initial hidden weights; its limit of infinite depth is Neural Feature Dynamics (NFD).

The change that training makes to a hidden matrix is a sum of outer products of vectors the matrix has
already been multiplied by. It is kept as a small matrix in their two bases and costs no memory in n.

Fields are normalised as in section 3: h_l are the features, g_l / n is the derivative of a sample's
loss with respect to h_l; both are O(1) per coordinate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nfd.closed_form import FEATURE_LEARNING, limit_bytes
from nfd.gaussian import Coupling, GaussianMatrix, Noise
from nfd.parametrization import PARAMETRIZATIONS, ROLES, Role
from nfd.resnet import COUPLINGS, Architecture, LayerGradient, Trace
from nfd.seeds import generator
from nfd.training import LOSSES, Member, Trainer, TrainingData, as_values, loss_and_chi

Activation = Literal["relu", "tanh", "linear"]
Loss = Literal["mse", "cross_entropy"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LimitProblem:
    """What is trained, on what and how, apart from the width.

    inputs (S, d); targets (S,) class ids or (S, C) values; batches (K, B) row numbers of ``inputs``,
    one row per SGD step (a sample may occur twice in a batch and then counts twice). Samples in no
    batch are test points. ``depth`` is the number L of blocks, ``horizon`` T. ``trainable`` names
    roles of :data:`nfd.parametrization.ROLES`; "hidden" stands for all hidden matrices.
    ``skip=False`` drops the identity and the branch factor (one-layer blocks only).

    Cost grows with the number of vectors: at every step the batch passes forward and backward, besides
    the ``evaluated`` samples forward (default: all) and the ``probes`` among them backward too
    (default: all evaluated). Which samples are followed changes the random numbers drawn, not the law.
    Raises ValueError naming the field at fault.
    """

    inputs: np.ndarray
    targets: np.ndarray
    batches: np.ndarray
    depth: int
    learning_rate: float
    horizon: float = 1.0
    activation: Activation = "relu"
    block_layers: int = 1
    skip: bool = True
    loss: Loss = "mse"
    parametrization: str = "depth_mup"
    correction: float = 0.5
    trainable: Sequence[str] = ("input", "hidden", "output")
    coupling: Coupling = "standard"
    evaluated: Sequence[int] | None = None
    probes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name, kind in (("inputs", float), ("targets", None), ("batches", None)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        _check_choice("loss", self.loss, LOSSES)
        _check_choice("coupling", self.coupling, COUPLINGS)
        _check_choice("parametrization", self.parametrization, FEATURE_LEARNING)
        if self.inputs.ndim != 2 or len(self.targets) != len(self.inputs):
            raise ValueError("inputs: need shape (S, d) with one target per row")
        if self.targets.ndim not in (1, 2):
            raise ValueError("targets: need (S,) class ids or (S, C) values")
        if self.batches.ndim != 2 or not self.batches.size or self.batches.dtype.kind not in "iu":
            raise ValueError("batches: need a non-empty (K, B) array of sample ids")
        self.architecture(width=1)  # checks the shape of the network
        for name in self.trainable:
            _check_choice("trainable", name, ("input", "hidden", *self.hidden_roles, "output"))
        for name, ids in (("batches", self.batches), ("evaluated", self.evaluated_ids)):
            if ids.size and not (ids.min() >= 0 and ids.max() < len(self.inputs)):
                raise ValueError(f"{name}: sample ids must lie in 0..{len(self.inputs) - 1}")
        if not np.isin(self.probe_ids, self.evaluated_ids).all():
            raise ValueError("probes: every probe must be among the evaluated samples")

    @property
    def steps(self) -> int:
        """The number K of SGD steps."""
        return len(self.batches)

    @property
    def evaluated_ids(self) -> np.ndarray:
        """Ids of the samples evaluated at every step."""
        everything = np.arange(len(self.inputs))
        return everything if self.evaluated is None else np.asarray(self.evaluated, dtype=int)

    @property
    def probe_ids(self) -> np.ndarray:
        """Ids of the probes, (P,)."""
        return self.evaluated_ids if self.probes is None else np.asarray(self.probes, dtype=int)

    def architecture(self, width: int) -> Architecture:
        """The network of this problem at a ``width``."""
        return Architecture(
            input_dim=self.inputs.shape[1],
            outputs=self.target_values.shape[1],
            width=width,
            depth=self.depth,
            block_layers=self.block_layers,
            skip=self.skip,
            activation=self.activation,
            horizon=self.horizon,
        )

    def batch_before(self, step: int) -> np.ndarray:
        """The batch of ``step``; after the last step, the last batch."""
        return self.batches[min(step, self.steps - 1)]

    def forward_ids(self, step: int) -> np.ndarray:
        """Ids, sorted, of the samples passed forward at ``step``."""
        return np.union1d(self.batch_before(step), self.evaluated_ids)

    def backward_ids(self, step: int) -> np.ndarray:
        """Ids, sorted, of the samples passed backward at ``step``; at the end no batch is left."""
        batch = self.batches[step] if step < self.steps else []
        return np.union1d(batch, self.probe_ids).astype(int)

    @cached_property
    def target_values(self) -> np.ndarray:
        """Targets as (S, C) values; class ids become one-hot."""
        if self.targets.ndim == 2:
            return self.targets.astype(float)
        return as_values(self.targets, self.targets.max() + 1)

    @property
    def hidden_roles(self) -> tuple[Role, ...]:
        """Roles of the hidden matrices of a block, first to last."""
        return self.architecture(width=1).hidden_roles

    @property
    def trained_roles(self) -> frozenset[str]:
        """``trainable`` with "hidden" spelled out."""
        hidden = self.hidden_roles if "hidden" in self.trainable else ()
        return frozenset({*self.trainable, *hidden} - {"hidden"})


def _check_choice(key: str, value: object, accepted: Sequence) -> None:
    if value not in accepted:
        raise ValueError(
            f"{key}: {value!r} is not accepted; choose {', '.join(map(str, accepted))}"
        )


@dataclass(eq=False)
class LimitTrajectory:
    """What was seen before each step k < K and, last, after the final step. All arrays are float64.

    outputs (K+1, S, C): of the samples evaluated, and of the batch; NaN elsewhere. losses (K+1,): mean
    loss of batch k before step k; the last entry is the loss of the last batch after its step.
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


def memory_bytes(problem: LimitProblem, particles: int, dtype: torch.dtype = torch.float32) -> int:
    """Memory in bytes :func:`simulate_limit` will need, apart from torch itself (about 0.4 GB)."""
    steps = range(problem.steps + 1)
    forward = sum(len(problem.forward_ids(step)) for step in steps)
    backward = [len(problem.backward_ids(step)) for step in steps]
    return limit_bytes(
        particles,
        depth=problem.depth,
        forward_vectors=forward,
        backward_vectors=sum(backward),
        block=max(len(problem.forward_ids(step)) for step in steps),
        block_layers=problem.block_layers,
        itemsize=dtype.itemsize,
    )


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
    return _simulate(problem, particles, seed, device, dtype, noise_depth, negate)[0]


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
    return _train(problem, _DenseNetwork(problem, width, seed, torch.device(device), dtype))


def _simulate(
    problem: LimitProblem,
    particles: int,
    seed: int,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    noise_depth: int | None = None,
    negate: Sequence[Role] = (),
) -> tuple[LimitTrajectory, "_Network"]:
    network = _Network(problem, particles, seed, torch.device(device), dtype, noise_depth, negate)
    with torch.no_grad():
        return _train(problem, network), network


def _train(problem: LimitProblem, network: "_Network | _DenseNetwork") -> LimitTrajectory:
    """Train a network, matrix-free or dense, and record what is seen on the way."""
    record = _Record(problem, network.branch)
    for step in range(problem.steps + 1):
        ids, kept = problem.forward_ids(step), problem.backward_ids(step)
        try:
            outputs = network.forward(ids, kept)
            losses, chi = _loss_and_chi(problem, ids, outputs)
            network.backward(chi[np.isin(ids, kept)])
        except FloatingPointError:
            record.trajectory.diverged_at = step
            break
        record.write(step, outputs, losses, network)
        if step < problem.steps:
            network.learn(step)
    return record.trajectory


def _loss_and_chi(problem: LimitProblem, ids: np.ndarray, outputs: np.ndarray) -> tuple:
    """Loss (F,) of the samples ``ids`` at outputs (F, C), and its derivative by them, (F, C)."""
    targets = torch.from_numpy(problem.target_values[ids])
    losses, chi = loss_and_chi(torch.from_numpy(outputs), targets, problem.loss)
    return losses.numpy(), chi.numpy()


def _batch_weights(batch: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Weight of each sample of ``ids`` in the batch mean: how often it occurs, over B."""
    return (np.asarray(batch)[None, :] == ids[:, None]).sum(axis=1) / len(batch)


class _Record:
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
        seen: "_Network | _DenseNetwork",
    ) -> None:
        """Outputs (F, C) and losses (F,) of the samples passed at ``step``, and what the pass ``seen``."""
        problem, trajectory = self.problem, self.trajectory
        ids, evaluated = problem.forward_ids(step), problem.evaluated_ids
        trajectory.outputs[step, ids] = outputs
        batch = np.searchsorted(ids, problem.batch_before(step))
        in_a_batch = np.isin(ids, problem.batches)
        trajectory.losses[step] = losses[batch].mean()
        trajectory.train_losses[step] = _mean(losses[in_a_batch & np.isin(ids, evaluated)])
        trajectory.test_losses[step] = _mean(losses[~in_a_batch])
        trajectory.feature_kernel[step] = seen.feature_kernel
        trajectory.gradient_kernel[step] = seen.gradient_kernel
        trajectory.coupling[step] = seen.coupling


def _mean(values: np.ndarray) -> float:
    return values.mean() if len(values) else np.nan


class _HiddenMatrix:
    """A hidden matrix: its initial weights, revealed as needed, and what training added to them.

    The change is left.basis^T @ change @ right.basis, so that only the small ``change`` is kept.
    ``multiplier`` is the forward multiplier, left to the caller; ``rate`` multiplies a step's sum of
    outer products.
    """

    def __init__(self, initial: GaussianMatrix, multiplier: float, rate: float):
        self.initial, self.multiplier, self.rate = initial, multiplier, rate
        self._change = initial.left.basis.new_zeros(initial.left.capacity, initial.right.capacity)
        self._changed = False

    def forward(self, vectors: Tensor) -> Tensor:
        """W x for each row x."""
        change = self._change if self._changed else None
        values, self.inputs = self.initial.multiply(vectors, change)
        return values

    def backward(self, vectors: Tensor) -> Tensor:
        """W^T g for each row g."""
        change = self._change if self._changed else None
        values, self.errors = self.initial.multiply_transposed(vectors, change)
        return values

    def initial_forward(self, rows: "slice | np.ndarray") -> Tensor:
        """W^0 x for some rows of the last forward block."""
        return self.inputs[rows] @ self.initial.right.images

    def learn(self, rows: "slice | np.ndarray", weights: Tensor) -> None:
        """Add rate * sum_b weights_b error_b input_b^T; input b is row ``rows[b]`` of its block."""
        if self.rate:
            seen = self._change[: self.initial.left.used, : self.initial.right.used]
            seen.addmm_((self.errors * weights[:, None]).T, self.inputs[rows], alpha=self.rate)
            self._changed = True


class _Network:
    """A network of ``particles`` neurons with matrix-free hidden weights, and its last pass."""

    def __init__(
        self,
        problem: LimitProblem,
        particles: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        noise_depth: int | None,
        negate: Sequence[Role],
    ):
        noise_depth = noise_depth or problem.depth
        if noise_depth % problem.depth:
            raise ValueError(
                f"noise_depth: {noise_depth} is not a multiple of the depth {problem.depth}"
            )
        for role in negate:
            _check_choice("negate", role, ROLES)
        self.problem, self.particles, self.seed, self.negate = problem, particles, seed, negate
        self.device, self.dtype = device, dtype
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

    def _block(self, layer: int, noise_depth: int) -> list[_HiddenMatrix]:
        """The hidden matrices of one block, first to last."""
        problem = self.problem
        per_layer = noise_depth // problem.depth
        cells = range(layer * per_layer, (layer + 1) * per_layer)
        steps = range(problem.steps + 1)
        block = []
        for role in problem.hidden_roles:
            initial = GaussianMatrix(
                self._noise(role, "forward", cells=cells),
                self._noise(role, "backward", cells=cells),
                sum(len(problem.forward_ids(step)) for step in steps),
                sum(len(problem.backward_ids(step)) for step in steps),
                problem.coupling,
            )
            # A block's derivative by the product of its last matrix also carries the branch factor.
            rate = self._rate(role) * (self.branch if role == "hidden_2" else 1.0) / self.particles
            block.append(_HiddenMatrix(initial, self.scales[role].multiplier, rate))
        return block

    def _rate(self, role: Role) -> float:
        """What a role's SGD step multiplies the loss derivative by the role's product with."""
        if role not in self.problem.trained_roles:
            return 0.0
        scale = self.scales[role]
        return -self.problem.learning_rate * scale.learning_rate * scale.multiplier

    def forward(self, ids: np.ndarray, kept_ids: np.ndarray) -> np.ndarray:
        """Outputs (F, C) of the samples ``ids``; keeps what :meth:`backward` needs of ``kept_ids``.

        Raises FloatingPointError when numbers are no longer finite.
        """
        activation, skip = self.problem.activation, self.problem.skip
        self.kept_ids = kept_ids
        self.kept = _rows(ids, kept_ids)
        probes = _rows(ids, self.problem.probe_ids)
        self.slopes, kernels = [], []
        h = self.inputs[ids] @ self.input_weights * self.scales["input"].multiplier
        for block in self.blocks:
            kernels.append(self._kernel(h[probes]))
            inside = h
            if len(block) == 2:
                inside = block[0].forward(h).mul_(block[0].multiplier)
            phi = _activation(activation, inside)
            self.slopes.append(_slope(activation, phi[self.kept]))
            change, scale = block[-1].forward(phi), self.branch * block[-1].multiplier
            h = h.add_(change, alpha=scale) if skip else change.mul_(scale)
        kernels.append(self._kernel(h[probes]))
        self.features, self.feature_kernel = h[self.kept], np.stack(kernels)
        return _finite(h @ self.output_weights.T * self.scales["output"].multiplier)

    def backward(self, chi: np.ndarray) -> None:
        """Pass the loss derivatives (R, C) of the kept samples back to the input."""
        depth, probed = self.problem.depth, len(self.problem.probe_ids)
        probes = _rows(self.kept_ids, self.problem.probe_ids)
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

    def _coupling(self, matrix: _HiddenMatrix, g: Tensor) -> np.ndarray:
        products = (matrix.initial_forward(self.kept) * g).sum(dim=1).double().cpu().numpy()
        return matrix.multiplier * products / self.particles


def _rows(ids: np.ndarray, chosen: np.ndarray) -> "slice | np.ndarray":
    """Rows of the samples ``chosen`` in a block of the samples ``ids`` (sorted)."""
    return slice(None) if np.array_equal(ids, chosen) else np.searchsorted(ids, chosen)


def _finite(outputs: Tensor) -> np.ndarray:
    values = outputs.double().cpu().numpy()
    if not np.isfinite(values).all():
        raise FloatingPointError("the outputs are not finite")
    return values


def _activation(name: Activation, x: Tensor) -> Tensor:
    return {"relu": torch.relu, "tanh": torch.tanh, "linear": torch.clone}[name](x)


def _slope(name: Activation, phi: Tensor) -> Tensor:
    """phi'(x) from phi(x); for ReLU as booleans, which take a quarter of the memory."""
    if name == "relu":
        return phi > 0
    return 1 - phi**2 if name == "tanh" else torch.ones_like(phi[:, :1])


class _DenseNetwork:
    """A network with real matrices, watched as :class:`_Network` is; the engine trains it."""

    def __init__(
        self,
        problem: LimitProblem,
        width: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
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

    def forward(self, ids: np.ndarray, kept_ids: np.ndarray) -> np.ndarray:
        """Outputs (F, C) of the samples ``ids``; the trace of the kept ones stays for backward."""
        self.probes = _rows(kept_ids, self.problem.probe_ids)
        self.trace = Trace(self.stack, len(kept_ids))
        self.stack.forward(self.trainer.inputs[None, kept_ids], self.trace)
        self.feature_kernel = np.stack([self._kernel(h) for h in self._streams()])
        return _finite(self.stack.forward(self.trainer.inputs[None, ids])[0])

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
