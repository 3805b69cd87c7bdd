"""The matrix-free limit solver against dense simulation, and its cost in the number of particles.

Each measurement is a process of its own, ``python -m benchmarks.solver METHOD JSON``, so that its peak
memory is its own.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import log, sqrt
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.timing import interleave, ratio, summary

Line = dict[str, Any]
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Setting:
    """Batches of ``samples`` out of a ``pool`` (default: of just these), at ``evaluations`` - 1 SGD steps.

    So each hidden matrix multiplies samples x evaluations vectors in each direction. Besides the batches,
    ``test_samples`` are passed, 16 of them probes, at each of the ``observed`` steps (default: all).
    """

    particles: int
    depth: int
    samples: int
    evaluations: int
    threads: int
    input_dim: int = 16
    learning_rate: float = 0.5
    coupling: str = "standard"
    pool: int | None = None
    test_samples: int = 0
    observed: int | None = None

    @property
    def vectors(self) -> int:
        looks = self.test_samples * len(self.observed_steps)
        return self.samples * self.evaluations + looks

    @property
    def observed_steps(self) -> list[int]:
        """Evenly spaced, first and last included."""
        count = self.observed or self.evaluations
        return np.linspace(0, self.steps, count).astype(int).tolist()

    @property
    def batches(self) -> np.ndarray:
        if self.pool is None:
            return np.tile(np.arange(self.samples), (self.steps, 1))
        rng = np.random.default_rng(2)
        return np.array([rng.permutation(self.pool)[: self.samples] for _ in range(self.steps)])

    @property
    def steps(self) -> int:
        return self.evaluations - 1

    @property
    def inputs(self) -> np.ndarray:
        count = (self.pool or self.samples) + self.test_samples
        x = np.random.default_rng(0).standard_normal((count, self.input_dim))
        return x * sqrt(self.input_dim) / np.linalg.norm(x, axis=1, keepdims=True)

    @property
    def targets(self) -> np.ndarray:
        return np.random.default_rng(1).standard_normal((len(self.inputs), 1))

    @property
    def dense_operations(self) -> int:
        """Of forward and backward products and updates; drawing the matrices comes on top."""
        products = 2 * self.evaluations + self.steps
        return 2 * self.depth * self.particles**2 * self.samples * products

    @property
    def dense_bytes(self) -> int:
        """Matrices drawn, read forward and backward at each evaluation, read and written by each step."""
        passes = 1 + 2 * self.evaluations + 2 * self.steps
        return 4 * self.depth * self.particles**2 * passes

    @property
    def free_operations(self) -> int:
        """Of a coupled matrix-free simulation, leading order.

        Per vector and per vector already known, 18 n: four products for orthogonality (twice forth and
        back), three for the image in the known directions, one for the values, one for the learned part.
        """
        return 18 * self.depth * self.particles * self.vectors**2

    @property
    def free_bytes(self) -> int:
        """Least traffic: the same nine passes over the known vectors, once per block of ``samples``."""
        return 36 * self.depth * self.particles * self.vectors**2 // self.samples

    @property
    def free_normals(self) -> int:
        """Gaussian numbers drawn by the matrix-free simulation."""
        return 2 * self.depth * self.particles * self.vectors


TABLE_SETTING = Setting(particles=8192, depth=32, samples=8, evaluations=8, threads=2)
# As the presets train limits, but for the particles, of which they have fewer, and the depth, which counts
# linearly. Observed at all steps, 8,192 particles of 16 layers would take an hour.
WHOLE_RUN = Setting(
    particles=2048,
    depth=2,
    samples=8,
    evaluations=301,
    threads=2,
    pool=240,
    test_samples=256,
)
ONE_STEP = Setting(particles=8192, depth=32, samples=32, evaluations=2, threads=2)
LINEAR = tuple(
    Setting(particles=n, depth=8, samples=8, evaluations=8, threads=1)
    for n in (10_000, 20_000, 50_000, 100_000)
)


def problem_of(setting: Setting) -> Any:
    """The nfd.LimitProblem of a setting."""
    from nfd import LimitProblem

    looked_at = np.arange(len(setting.inputs))
    if setting.test_samples:
        looked_at = looked_at[-setting.test_samples :]
    return LimitProblem(
        inputs=setting.inputs,
        targets=setting.targets,
        batches=setting.batches,
        depth=setting.depth,
        learning_rate=setting.learning_rate,
        coupling=setting.coupling,
        evaluated=looked_at,
        # Kernels of all pairs of probes are kept at all steps: of hundreds they would be all the memory.
        probes=looked_at[:16] if setting.test_samples else None,
        observed_steps=setting.observed_steps,
    )


def matrix_free(setting: Setting) -> dict[str, float]:
    """Seconds of nfd.simulate_limit."""
    from nfd import simulate_limit

    return _simulation(setting, simulate_limit)


def observed_dense(setting: Setting) -> dict[str, float]:
    """Seconds of nfd.simulate_dense, which yields the same observables from real matrices."""
    from nfd import simulate_dense

    return _simulation(setting, simulate_dense)


def _simulation(setting: Setting, simulate: Callable) -> dict[str, float]:
    problem = problem_of(setting)
    start = perf_counter()
    trajectory = simulate(problem, setting.particles, seed=0)
    return {"seconds": perf_counter() - start, "last_loss": float(trajectory.losses[-1])}


def dense(setting: Setting) -> dict[str, float]:
    """The same network with real matrices, as lean as torch allows: no autograd, updates in place."""
    import torch

    n, depth = setting.particles, setting.depth
    x = torch.from_numpy(setting.inputs).float()
    y = torch.from_numpy(setting.targets).float()
    branch, root = sqrt(1 / depth), sqrt(n)
    torch.manual_seed(0)
    start = perf_counter()
    u, v = torch.randn(n, setting.input_dim), torch.randn(1, n)
    hidden = [torch.randn(n, n) for _ in range(depth)]
    drawn = perf_counter() - start
    rate = -setting.learning_rate / setting.samples
    for step in range(setting.evaluations):
        h = x @ u.T / sqrt(setting.input_dim)
        features = []
        for w in hidden:
            features.append(torch.relu(h))
            h = torch.addmm(h, features[-1], w.T, alpha=branch / root)
        f = h @ v.T / n
        chi = f - y
        g = chi @ v
        change_of_v = chi.T @ h
        for w, phi in zip(reversed(hidden), reversed(features), strict=True):
            below = (g @ w).mul_(phi > 0)
            if step < setting.steps:
                w.addmm_(g.T, phi, alpha=rate * branch / root)
            g = torch.add(g, below, alpha=branch / root)
        if step < setting.steps:
            u.addmm_(g.T, x, alpha=rate / sqrt(setting.input_dim))
            v.add_(change_of_v, alpha=rate)
    loss = 0.5 * float(chi.square().sum(1).mean())
    return {"seconds": perf_counter() - start, "drawing": drawn, "last_loss": loss}


METHODS: dict[str, Callable[[Setting], dict[str, float]]] = {
    "matrix_free": matrix_free,
    "dense": dense,
    "observed_dense": observed_dense,
}
PEERS = {
    "dense": "the same network with real matrices, in place, without autograd or observables",
    "observed_dense": "nfd.simulate_dense: real matrices, the same observables",
}


def measure(method: str, setting: Setting) -> dict[str, float]:
    """Run a method in a process of its own: its seconds, and its peak and baseline memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.solver", method, json.dumps(asdict(setting))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"benchmark process failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def against_dense_line(
    floor: dict[str, float],
    setting: Setting = TABLE_SETTING,
    peer: str = "dense",
    *,
    repeats: int = 5,
    target: float = 100.0,
) -> Line:
    """Time and memory against dense simulation."""
    methods = ("matrix_free", peer)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in methods}

    def run(name: str) -> float:
        measured[name].append(measure(name, setting))
        return measured[name][-1]["seconds"]

    samples = interleave(
        {name: lambda name=name: run(name) for name in methods}, repeats, warm_up=False
    )
    speed = ratio(samples, peer, "matrix_free")
    rows = [
        {
            "method": name,
            "seconds": summary(samples[name]),
            "processor seconds": summary([run["processor"] for run in runs]),
            "of it drawing the matrices, s": _median(runs, "drawing"),
            "memory, MiB": _median(runs, "memory_mib"),
            "libraries besides, MiB": _median(runs, "libraries_mib"),
        }
        for name, runs in measured.items()
    ]
    memory = rows[0]["memory, MiB"] / rows[1]["memory, MiB"]
    free_s = (
        setting.free_bytes / floor["copy_gbytes_per_s"]
        + setting.free_operations / floor["matmul_gflops"]
    ) / 1e9
    return {
        "what": f"limit solver, n = {setting.particles}, {setting.depth} layers, {setting.vectors} "
        f"vectors ({setting.samples} samples x {setting.evaluations} evaluations), "
        f"{setting.threads} threads",
        "against": PEERS[peer],
        "target": f">= {target:g}x time, <= 1/10 memory",
        "value": speed,
        "unit": f"x time, 1/{1 / memory:.1f} memory",
        "met": speed["median"] >= target and memory <= 0.1,
        "rows": rows,
        "floor": {
            "dense operations": setting.dense_operations,
            "dense bytes": setting.dense_bytes,
            "matrix-free operations": setting.free_operations,
            "matrix-free bytes": setting.free_bytes,
            "matrix-free Gaussian numbers": setting.free_normals,
            "matrix-free operations at matmul rate and bytes at copy rate, s": round(free_s, 3),
        },
    }


def observation_line(
    setting: Setting = WHOLE_RUN, observed: int = 10, *, repeats: int = 1, target: float = 5.0
) -> Line:
    """A whole training run looked at a few times against one looked at before every step."""
    from nfd.limit.memory import memory_bytes

    settings = {
        f"observed at {observed} steps": replace(setting, observed=observed),
        f"observed at all {setting.evaluations}": setting,
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in settings}

    def run(name: str) -> float:
        runs[name].append(measure("matrix_free", settings[name]))
        return runs[name][-1]["seconds"]

    samples = interleave(
        {name: lambda name=name: run(name) for name in settings}, repeats, warm_up=False
    )
    few, every = settings
    speed = ratio(samples, every, few)
    return {
        "what": f"limit of a training run, n = {setting.particles}, {setting.depth} layers, "
        f"{setting.steps} steps of {setting.samples}, {setting.test_samples} test samples, {few}, "
        f"{setting.threads} threads",
        "against": every,
        "target": f">= {target:g}x time",
        "value": speed,
        "unit": "x time",
        "met": speed["median"] >= target,
        "rows": [
            {
                "method": name,
                "vectors forward": settings[name].vectors,
                "seconds": summary(samples[name]),
                "memory, MiB": _median(runs[name], "memory_mib"),
                "memory predicted, MiB": round(
                    memory_bytes(problem_of(settings[name]), setting.particles) / 2**20
                ),
            }
            for name in settings
        ],
    }


def linearity_line(settings: tuple[Setting, ...] = LINEAR, *, repeats: int = 5) -> Line:
    """The exponent of processor time (one thread) in n, by least squares in the logarithms."""
    samples = interleave(
        {str(s.particles): lambda s=s: measure("matrix_free", s)["processor"] for s in settings},
        repeats,
    )
    sizes = [log(s.particles) for s in settings]
    per_round = [
        float(np.polyfit(sizes, [log(samples[str(s.particles)][r]) for s in settings], 1)[0])
        for r in range(repeats)
    ]
    value = summary(per_round)
    return {
        "what": f"limit solver's cost in n, {settings[0].particles} to {settings[-1].particles} "
        f"particles, {settings[0].depth} layers, {settings[0].vectors} vectors: exponent",
        "against": "linear",
        "target": "<= 1.1",
        "value": value,
        "unit": "",
        "met": value["median"] <= 1.1,
        "rows": [
            {
                "particles": s.particles,
                "processor seconds": summary(samples[str(s.particles)]),
                "ns per particle, layer and vector": round(
                    summary(samples[str(s.particles)])["median"]
                    / (s.particles * s.depth * s.vectors)
                    * 1e9,
                    2,
                ),
            }
            for s in settings
        ],
    }


NOT_PARTS = ("memory_mib", "libraries_mib", "last_loss", "processor")


def breakdown_line(setting: Setting = TABLE_SETTING, *, repeats: int = 5) -> Line:
    """Where the matrix-free solver's processor time goes, one thread."""
    setting = replace(setting, threads=1)
    runs = [measure("breakdown", setting) for _ in range(repeats + 1)][1:]
    parts = [key for key in runs[0] if key not in NOT_PARTS]
    rows = [
        {"part": part, "processor seconds": summary([run[part] for run in runs])} for part in parts
    ]
    total = rows[0]["processor seconds"]["median"]
    for row in rows:
        row["share"] = round(row["processor seconds"]["median"] / total, 2)
    return {
        "what": f"limit solver, n = {setting.particles}: where the processor time goes, one thread",
        "against": "",
        "target": "",
        "value": rows[0]["processor seconds"],
        "unit": "s",
        "met": None,
        "rows": rows,
    }


def breakdown(setting: Setting) -> dict[str, float]:
    """Processor seconds of :func:`matrix_free` in all, and inside its parts."""
    from nfd.limit import gaussian

    spent: dict[str, float] = {}

    @contextmanager
    def timed(owner: Any, name: str, part: str) -> Any:
        original = getattr(owner, name)

        def wrapper(*arguments: Any) -> Any:
            start = process_time()
            try:
                return original(*arguments)
            finally:
                spent[part] = spent.get(part, 0.0) + process_time() - start

        setattr(owner, name, wrapper)
        try:
            yield
        finally:
            setattr(owner, name, original)

    with (
        timed(gaussian.Noise, "fill", "drawing noise"),
        timed(gaussian, "extend_basis", "orthogonalising"),
        timed(gaussian.GaussianMatrix, "_reveal", "products with Gaussian matrices, all"),
    ):
        start = process_time()
        matrix_free(setting)
        return {"all": process_time() - start, **spent}


def _median(runs: list[dict[str, float]], key: str) -> float | None:
    values = [run[key] for run in runs if key in run]
    return summary(values)["median"] if values else None


def _resident_mib(field: str = "VmRSS") -> float:
    """Memory of this process now, or at its peak (VmHWM); getrusage counts the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 2**10


def main(argv: list[str]) -> None:
    import torch

    import nfd.limit.simulate  # noqa: F401  (so that libraries are counted apart)

    method, setting = argv[0], Setting(**json.loads(argv[1]))
    torch.set_num_threads(setting.threads)
    torch.set_grad_enabled(False)
    torch.randn(256, 256) @ torch.randn(256, 256)  # starts the thread pool
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts afresh: imports need a lot
    libraries = _resident_mib()
    run = {**METHODS, "breakdown": breakdown}[method]
    before = process_time()
    found = run(setting)
    facts = {
        "processor": process_time() - before,
        "memory_mib": _resident_mib("VmHWM") - libraries,
        "libraries_mib": libraries,
    }
    print(json.dumps({**found, **facts}))


if __name__ == "__main__":
    main(sys.argv[1:])
