"""What a job takes: operations, memory and time, by which it is ordered, cut into stacks and scheduled."""

from dataclasses import dataclass
from math import ceil

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
SLOWEST_FLOPS = 5e9  # per second: one core of an old machine
# Measured on the laptop preset: seconds to start a job, operations per second of one core.
START_S = 4.0
TRAINING_RATE = 6e10
LIMIT_RATE = 1.2e11


def stack_size(members: int, bytes_per_member: int, budget: int) -> int:
    """How many of ``members`` networks to stack within about ``budget`` bytes; changes no number."""
    return max(1, min(members, max(MIN_STACK, budget // bytes_per_member)))


@dataclass(frozen=True)
class TrainingCost:
    """What a training job takes."""

    settings: TrainingSettings

    @property
    def flops(self) -> float:
        """Floating-point operations, to order jobs by and to guess their time."""
        s = self.settings
        weights = block_weights(width=s.width, depth=s.depth, block_layers=s.block_layers)
        return 6.0 * weights * s.batch_size * max(1, s.steps) * s.members

    @property
    def bytes_per_member(self) -> int:
        """Memory that one network's weights, their copies and its features take."""
        s = self.settings
        coupled = max(
            COUPLINGS[name].copies for network in s.networks for name in network.couplings
        )
        return training_bytes(
            width=s.width,
            depth=s.depth,
            block_layers=s.block_layers,
            samples=s.batch_size + 3 * s.probe_size * bool(s.probes),
            copies=1 + coupled + OPTIMIZERS[s.optimizer].state_per_weight,
            itemsize=BYTES[s.precision],
        )

    def members_at_once(self, budget: int) -> int:
        """How many of its networks to stack so that they take about ``budget`` bytes."""
        return stack_size(self.settings.members, self.bytes_per_member, budget)

    @property
    def estimate_s(self) -> float:
        """Rough seconds of one core."""
        return START_S + self.flops / TRAINING_RATE

    @property
    def memory_mb(self) -> int:
        """Memory to ask for, in MiB: libraries and samples, and one stack of networks."""
        at_once = self.members_at_once(CPU_STACK_BYTES)
        return LIBRARIES_MB + ceil(2 * at_once * self.bytes_per_member / 2**20)

    @property
    def runtime_min(self) -> int:
        """Time to ask for, in minutes: generous, since a job that overruns is killed."""
        return 10 + ceil(self.flops / SLOWEST_FLOPS / 60)


@dataclass(frozen=True)
class LimitCost:
    """What a limit job takes."""

    settings: LimitSettings

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
    def flops(self) -> float:
        """Floating-point operations, to guess its time."""
        s = self.settings
        matrices = s.simulations * s.depth * s.block_layers
        if is_written_out(s.particles, self.forward_vectors, self.backward_vectors, s.coupling):
            # Weighed to take as long as what a matrix that is not written out counts.
            products = self.forward_vectors + 2 * self.backward_vectors
            return 7.0 * matrices * s.particles**2 * products
        return 16.0 * matrices * s.particles * self.vectors**2

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
        return 10 + ceil(self.flops / SLOWEST_FLOPS / 60)
