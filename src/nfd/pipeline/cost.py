"""What a job takes: operations, memory and time, by which it is ordered, cut into stacks and scheduled."""

from dataclasses import dataclass
from math import ceil

from nfd.data.raw import UNREAD_SHAPE, SampleShape
from nfd.limit.memory import is_written_out, limit_bytes
from nfd.network.architecture import block_weights, training_bytes
from nfd.network.couplings import COUPLINGS
from nfd.pipeline.settings import LimitSettings, TrainingSettings
from nfd.training.optimizers import OPTIMIZERS

BYTES = {"float32": 4, "float64": 8}

# On a CPU a step streams all weights and features of a stack through the cache: beyond about this
# size a larger stack is slower (tried on a Xeon core at widths 32 to 512), below MIN_STACK calls dominate.
CPU_STACK_BYTES = 40 * 2**20
MIN_STACK = 4
LIBRARIES_MB = 1500  # torch and the data set

# Seconds of one core, measured on an EPYC and a Xeon with AVX-512; docs/scale.md says how well they fit.
START_S = 3.0  # to start a job
LAYER_S = 1e-5  # per layer, step and stack: calls
DRAWN_S = 2.5e-8  # per Gaussian number drawn for a matrix and handed to the members of its seed
STATE_S = 2.5e-9  # per number that an optimizer keeps, at each step
# Operations per second: of products of so many multiply-adds per network or more, which go to oneDNN one by
# one (nfd.network.products), of all smaller ones, and of limits.
LARGE_PRODUCT = 2**22
LARGE_RATE = 1.5e11
SMALL_RATE = 8e10
LIMIT_RATE = 1e11
SLOWEST = 20  # times as long takes one core of an old machine

EVALUATED_AT_ONCE = 256  # samples (nfd.training.trainer)
# Those that draw the initial weights again whenever they look.
DRAWING_PROBES = frozenset({"features", "gradients", "coupling"})


def stack_size(members: int, bytes_per_member: int, budget: int) -> int:
    """How many of ``members`` networks to stack within about ``budget`` bytes; changes no number."""
    return max(1, min(members, max(MIN_STACK, budget // bytes_per_member)))


def runtime_min(estimate_s: float) -> int:
    """Time to ask for, in minutes: generous, since a job that overruns is killed."""
    return 10 + ceil(SLOWEST * estimate_s / 60)


@dataclass(frozen=True)
class TrainingCost:
    """What a training job takes, on data of a shape that may be a guess.

    Without one it answers how networks are stacked, which no sample changes.
    """

    settings: TrainingSettings
    data: SampleShape = UNREAD_SHAPE

    @property
    def block_weights(self) -> int:
        """Hidden weights of one network."""
        s = self.settings
        return block_weights(width=s.width, depth=s.depth, block_layers=s.block_layers)

    @property
    def outer_weights(self) -> int:
        """Weights of one network's input and output layer."""
        return self.settings.width * (self.data.inputs + self.data.classes)

    @property
    def copies(self) -> int:
        """How many numbers the members keep for each hidden weight besides the weight, at most."""
        networks = self.settings.networks
        return max(COUPLINGS[name].copies for network in networks for name in network.couplings)

    @property
    def hidden_flops(self) -> float:
        """Operations of all steps with hidden weights: forward, backward, the update and that of copies."""
        s = self.settings
        copied = sum(
            len(network.learning_rates) * len(s.seeds) * COUPLINGS[name].copies
            for network in s.networks
            for name in network.couplings
        )
        per_weight = 6.0 * s.members + 2.0 * copied
        return per_weight * self.block_weights * s.batch_size * s.steps

    @property
    def outer_flops(self) -> float:
        """The same with input and output weights; no gradient is passed on to the samples.

        Members that see the same samples multiply them in one product, which takes as many operations.
        """
        s = self.settings
        per_sample = s.width * (4.0 * self.data.inputs + 6.0 * self.data.classes)
        return per_sample * s.batch_size * s.steps * s.members

    @property
    def logging_flops(self) -> float:
        """Operations at logged steps: samples evaluated forward, and probes forward and backward."""
        s = self.settings
        weights = self.block_weights + self.outer_weights
        evaluated = s.evaluation_size + min(s.evaluation_size, s.train_size or s.evaluation_size)
        per_look = 2.0 * weights * evaluated + 4.0 * weights * s.probe_size * len(s.probes)
        return per_look * len(s.logged_steps) * s.members

    @property
    def flops(self) -> float:
        """Floating-point operations."""
        return self.hidden_flops + self.outer_flops + self.logging_flops

    @property
    def drawn(self) -> int:
        """Gaussian numbers: initial weights and copies, those of each step, those that probes draw again."""
        s = self.settings
        fresh = any("fresh" in network.couplings for network in s.networks)
        probed = len(s.logged_steps) * len(DRAWING_PROBES.intersection(s.probes))
        times = 1 + self.copies + s.steps * fresh + probed
        return len(s.seeds) * (times * self.block_weights + self.outer_weights)

    @property
    def bytes_per_member(self) -> int:
        """Memory of one network's hidden weights, their copies and its features, by which stacks are cut."""
        s = self.settings
        return training_bytes(
            width=s.width,
            depth=s.depth,
            block_layers=s.block_layers,
            samples=s.batch_size + 3 * s.probe_size * bool(s.probes),
            copies=1 + self.copies + OPTIMIZERS[s.optimizer].state_per_weight,
            itemsize=BYTES[s.precision],
        )

    @property
    def outer_bytes_per_member(self) -> int:
        """Memory of its other weights, what the optimizer keeps for them, and the samples of its batch."""
        s = self.settings
        numbers = (1 + OPTIMIZERS[s.optimizer].state_per_weight) * self.outer_weights
        return BYTES[s.precision] * (numbers + s.batch_size * self.data.inputs)

    def members_at_once(self, budget: int) -> int:
        """How many of its networks to stack so that they take about ``budget`` bytes; asks for no shape."""
        return stack_size(self.settings.members, self.bytes_per_member, budget)

    @property
    def estimate_s(self) -> float:
        """Rough seconds of one core."""
        s = self.settings
        square, stacks = s.width**2, ceil(s.members / self.members_at_once(CPU_STACK_BYTES))
        return (
            START_S
            + self.hidden_flops / _rate(s.batch_size * square)
            + self.outer_flops / _rate(s.batch_size * s.width * self.data.inputs)
            + self.logging_flops / _rate(EVALUATED_AT_ONCE * square)
            + LAYER_S * stacks * s.steps * s.depth * s.block_layers
            + DRAWN_S * self.drawn
            + STATE_S * self._kept * s.steps * s.members
        )

    @property
    def _kept(self) -> int:
        """Numbers that the optimizer keeps of one network."""
        per_weight = OPTIMIZERS[self.settings.optimizer].state_per_weight
        return per_weight * (self.block_weights + self.outer_weights)

    @property
    def memory_mb(self) -> int:
        """Memory to ask for, in MiB: libraries and samples, and one stack of networks."""
        at_once = self.members_at_once(CPU_STACK_BYTES)
        each = self.bytes_per_member + self.outer_bytes_per_member
        return LIBRARIES_MB + ceil(2 * at_once * each / 2**20)

    @property
    def runtime_min(self) -> int:
        """Time to ask for, in minutes."""
        return runtime_min(self.estimate_s)


def _rate(multiply_adds: int) -> float:
    """Operations per second of a product of one network."""
    return LARGE_RATE if multiply_adds >= LARGE_PRODUCT else SMALL_RATE


@dataclass(frozen=True)
class LimitCost:
    """What a limit job takes, on data of a shape that may be a guess."""

    settings: LimitSettings
    data: SampleShape

    @property
    def samples(self) -> int:
        """Samples passed forward at an observed step, at most: evaluated, probed and in the batch."""
        s = self.settings
        trained = s.train_size or 0
        batch = min(s.batch_size, max(trained - s.evaluation_size, 0))
        return min(s.evaluation_size, trained) + max(s.probe_size, s.evaluation_size) + batch

    @property
    def observations(self) -> int:
        """Steps at which more than the batch is passed."""
        return len(self.settings.logged_steps)

    @property
    def forward_vectors(self) -> int:
        """Vectors that a hidden matrix is multiplied with, at most."""
        s, looks = self.settings, self.observations
        return looks * self.samples + (s.steps + 1 - looks) * s.batch_size

    @property
    def backward_vectors(self) -> int:
        """Vectors that its transpose is multiplied with, at most."""
        s = self.settings
        return self.observations * s.probe_size + (s.steps + 1) * s.batch_size

    @property
    def vectors(self) -> int:
        """By which the time is reckoned: those in one direction, and the batches of the other."""
        return self.forward_vectors + (self.settings.steps + 1) * self.settings.batch_size

    @property
    def is_written_out(self) -> bool:
        """Whether its hidden matrices have their entries written out rather than revealed."""
        s = self.settings
        return is_written_out(s.particles, self.forward_vectors, self.backward_vectors, s.coupling)

    @property
    def hidden_flops(self) -> float:
        """Operations with hidden matrices; those written out are weighed to take as long as the others."""
        s = self.settings
        matrices = s.simulations * s.depth * s.block_layers
        if self.is_written_out:
            products = self.forward_vectors + 2 * self.backward_vectors
            return 6.0 * matrices * s.particles**2 * products
        return 16.0 * matrices * s.particles * self.vectors**2

    @property
    def outer_flops(self) -> float:
        """Operations with input and output weights: forward and the update, the output's backward too."""
        s, learned = self.settings, self.settings.steps * self.settings.batch_size
        per_input = 2.0 * (self.forward_vectors + learned)
        per_output = per_input + 2.0 * self.backward_vectors
        per_particle = per_input * self.data.inputs + per_output * self.data.classes
        return s.simulations * s.particles * per_particle

    @property
    def flops(self) -> float:
        """Floating-point operations, to guess its time."""
        return self.hidden_flops + self.outer_flops

    @property
    def estimate_s(self) -> float:
        """Rough seconds of one core."""
        return START_S + self.flops / LIMIT_RATE

    @property
    def memory_mb(self) -> int:
        """Memory to ask for, in MiB: libraries and samples, and what one simulation holds."""
        s = self.settings
        needed = limit_bytes(
            s.particles,
            depth=s.depth,
            forward_vectors=self.forward_vectors,
            backward_vectors=self.backward_vectors,
            block=self.samples,
            coupling=s.coupling,
            block_layers=s.block_layers,
            itemsize=BYTES[s.precision],
        )
        return LIBRARIES_MB + ceil(needed / 2**20)

    @property
    def runtime_min(self) -> int:
        """Time to ask for, in minutes."""
        return runtime_min(self.estimate_s)
