"""A cost model fitted to measurements, checked on shapes it has not seen, and what larger runs need.

Seconds are linear in a few counts, with coefficients >= 0 fitted to relative errors. Seconds are processor
seconds of one thread, which other load on the machine hardly changes.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks import solver
from benchmarks.crew import Crew
from benchmarks.overheads import load
from benchmarks.peers import Sweep, stacked
from benchmarks.timing import interleave, summary
from nfd.network.couplings import COUPLINGS
from nfd.pipeline.cost import CPU_STACK_BYTES, START_S
from nfd.pipeline.jobs import LimitJob, TrainingJob, expand

Line = dict[str, Any]
Coefficients = Mapping[str, float]

FITTED = (
    *(Sweep(n, depth, 16) for n in (32, 64, 128, 256) for depth in (4, 16, 64)),
    *(Sweep(512, depth, 16) for depth in (4, 16)),
    *(Sweep(n, 16, 16, batch_size=batch) for n in (64, 256) for batch in (8, 128)),
    Sweep(64, 8, 16, input_dim=3072),
    Sweep(128, 16, 16, batch_size=64, input_dim=3072),
)
HELD_OUT = (
    Sweep(48, 8, 16),
    Sweep(96, 32, 16),
    Sweep(192, 16, 16),
    Sweep(128, 128, 16),
    Sweep(384, 8, 16),
    Sweep(64, 32, 16, batch_size=64, input_dim=3072),
    Sweep(256, 32, 16, batch_size=64, input_dim=3072),
)
LIMITS_FITTED = tuple(
    solver.Setting(n, depth, samples, evaluations, threads=1)
    for n, depth, samples, evaluations in (
        (1024, 8, 8, 8), (4096, 8, 8, 8), (16384, 8, 8, 8), (4096, 32, 8, 8),
        (4096, 8, 32, 8), (4096, 8, 8, 32), (16384, 4, 16, 16), (16384, 8, 32, 2),
    )
)  # fmt: skip
LIMITS_HELD_OUT = tuple(
    solver.Setting(n, depth, samples, evaluations, threads=1)
    for n, depth, samples, evaluations in (
        (8192, 16, 8, 8), (2048, 16, 16, 8), (32768, 4, 8, 16), (8192, 8, 32, 4), (4096, 8, 36, 9),
    )
)  # fmt: skip


def step_counts(
    width: int, depth: int, members: int, batch: int, input_dim: int, outputs: int, layers: int = 1
) -> dict[str, float]:
    """What one step of one stack does, in units of the coefficients."""
    hidden = depth * layers * width**2
    parameters = hidden + width * (input_dim + outputs)
    return {
        "step": 1,
        "layer": depth * layers,
        "Gflop": 2e-9 * members * batch * (3 * parameters - width * input_dim),
        "G weight": 1e-9 * members * parameters,
        "G feature": 1e-9 * members * batch * depth * layers * width,
        "G input": 1e-9 * members * batch * input_dim,
    }


def limit_counts(
    particles: int, matrices: int, vectors: float, evaluations: int
) -> dict[str, float]:
    """What one simulation does, in units of the coefficients.

    Each evaluation passes once over what is known, whether with few vectors or many: the third count.
    """
    return {
        "product": 2 * matrices * evaluations,
        "G particle matrix vector": 1e-9 * particles * matrices * vectors,
        "G particle matrix vector evaluation": 1e-9 * particles * matrices * vectors * evaluations,
        "G particle matrix vector^2": 1e-9 * particles * matrices * vectors**2,
    }


def predict(counts: Mapping[str, float], coefficients: Coefficients) -> float:
    """Seconds."""
    return sum(coefficients[name] * count for name, count in counts.items())


def fit(counts: Sequence[Mapping[str, float]], seconds: Sequence[float]) -> dict[str, float]:
    """Coefficients >= 0 with the least squared relative error."""
    names = list(counts[0])
    table = np.array([[count[name] for name in names] for count in counts])
    scaled = table / np.asarray(seconds)[:, None]
    size = np.linalg.norm(scaled, axis=0)
    found, _ = nnls(scaled / size, np.ones(len(seconds)))
    return {name: float(f"{c:.4g}") for name, c in zip(names, found / size, strict=True)}


def training_line(
    fitted: Sequence[Sweep] = FITTED, held_out: Sequence[Sweep] = HELD_OUT, *, repeats: int = 5
) -> Line:
    """Processor seconds of a step of one stack, as large as the pipeline makes it."""
    sweeps = [*fitted, *held_out]
    one_stack = [s.resized(min(s.members, s.stack_size)) for s in sweeps]
    seconds = []
    with Crew(1, 1, processor=True) as crew:
        for sweep in one_stack:
            crew.prepare("stack", stacked, [sweep])
            steps = max(1, round(0.1 / crew.seconds("stack", 1)))
            runs = interleave({"stack": lambda steps=steps: crew.seconds("stack", steps)}, repeats)
            seconds.append(summary(runs["stack"])["median"] / steps)
    counts = [
        step_counts(s.width, s.depth, s.members, s.batch_size, s.input_dim, s.outputs)
        for s in one_stack
    ]
    labels = [
        {"width": s.width, "depth": s.depth, "batch": s.batch_size, "d": s.input_dim}
        | {"networks": s.members}
        for s in one_stack
    ]
    return _model_line(
        "cost model of a training step", labels, counts, seconds, len(fitted), repeats
    )


def limit_line(
    fitted: Sequence[solver.Setting] = LIMITS_FITTED,
    held_out: Sequence[solver.Setting] = LIMITS_HELD_OUT,
    *,
    repeats: int = 3,
) -> Line:
    """Processor seconds of a limit simulation."""
    settings = [*fitted, *held_out]
    samples = interleave(
        {
            str(i): lambda s=s: solver.measure("matrix_free", s)["processor"]
            for i, s in enumerate(settings)
        },
        repeats,
    )
    seconds = [summary(samples[str(i)])["median"] for i in range(len(settings))]
    counts = [limit_counts(s.particles, s.depth, s.vectors, s.evaluations) for s in settings]
    labels = [
        {"particles": s.particles, "depth": s.depth, "samples": s.samples}
        | {"evaluations": s.evaluations}
        for s in settings
    ]
    what = "cost model of a limit simulation"
    return _model_line(what, labels, counts, seconds, len(fitted), repeats)


def _model_line(
    what: str, labels: list, counts: list, seconds: list[float], fitted: int, repeats: int
) -> Line:
    coefficients = fit(counts[:fitted], seconds[:fitted])
    rows = []
    for number, (label, count, measured) in enumerate(zip(labels, counts, seconds, strict=True)):
        predicted = predict(count, coefficients)
        rows.append(
            {
                **label,
                "used for": "fit" if number < fitted else "check",
                "measured, ms": float(f"{1e3 * measured:.4g}"),
                "predicted, ms": float(f"{1e3 * predicted:.4g}"),
                "error": round(predicted / measured - 1, 3),
            }
        )
    errors = [abs(row["error"]) for row in rows[fitted:]]
    return {
        "what": f"{what}: relative error on shapes it has not seen, one thread",
        "against": "measurement",
        "target": "",
        "value": {**summary(errors), "repeats": repeats},
        "unit": "",
        "met": None,
        "rows": rows,
        "coefficients": coefficients,
    }


def training_seconds(job: TrainingJob, coefficients: Coefficients) -> float:
    """Predicted seconds of a training job on one core, process start not included.

    Adam, and each copy that a coupling keeps, cost a further update; evaluation is a forward pass.
    """
    s = job.settings
    together = job.cost.members_at_once(CPU_STACK_BYTES)
    shape = (s.width, s.depth)
    sizes = (s.batch_size, job.data.inputs, job.data.classes, s.block_layers)
    counts = step_counts(*shape, together, *sizes)
    copies = np.mean([COUPLINGS[c].copies for n in s.networks for c in n.couplings])
    counts["Gflop"] *= 1 + copies / 3
    counts["G weight"] *= 1 + copies / 2 + 2 * (s.optimizer == "adam")
    step = predict(counts, coefficients)
    seen = 2 * s.evaluation_size + s.probe_size * len(s.probes)
    once = step_counts(*shape, together, seen, *sizes[1:])
    evaluation = coefficients["Gflop"] * once["Gflop"] / 3
    evaluation += coefficients["G feature"] * once["G feature"] / 3
    return ceil(job.members / together) * (s.steps * step + len(s.logged_steps) * evaluation)


def limit_seconds(job: LimitJob, coefficients: Coefficients) -> float:
    """Predicted seconds of a limit job on one core, process start not included.

    The model was fitted to matrices that are revealed; where they are written out the estimate is the one by
    which jobs are scheduled.
    """
    s = job.settings
    if job.cost.is_written_out:
        return job.cost.estimate_s - START_S
    counts = limit_counts(s.particles, s.depth * s.block_layers, job.cost.vectors, s.steps + 1)
    return predict(counts, coefficients) * s.simulations


def enlarged(
    config: dict[str, Any], *, width: int = 1, depth: int = 1, steps: int = 1, seeds: int = 1
) -> dict[str, Any]:
    """A checked configuration with all widths, depths, steps and numbers of seeds multiplied.

    Experiments with a limit keep their steps: their point is the limit, whose cost is quadratic in them.
    """

    def larger(settings: dict[str, Any]) -> dict[str, Any]:
        grids = [
            {"widths": [width * n for n in g["widths"]], "depths": [depth * n for n in g["depths"]]}
            for g in settings["grids"]
        ]
        more = settings["steps"] * (1 if settings["limit"] else steps)
        return {**settings, "grids": grids, "steps": more, "seeds": seeds * settings["seeds"]}

    found = {name: larger(settings) for name, settings in config["experiments"].items()}
    return {**config, "experiments": found}


def forecast(
    config: str,
    training: Coefficients,
    limits: Coefficients,
    start_s: float,
    **factors: int,
) -> Line:
    """What a configuration, :func:`enlarged`, needs: jobs, operations, core hours, the largest job."""
    settings = enlarged(load(config), **factors)
    jobs, limit_jobs = expand(settings)
    times = ", ".join(f"{factor}x the {name}" for name, factor in factors.items())
    seconds = [training_seconds(job, training) + start_s for job in jobs]
    limit_s = [limit_seconds(job, limits) + start_s for job in limit_jobs]
    operations = sum(job.cost.flops for job in jobs)
    return {
        "config": ": ".join(filter(None, (Path(config).name, times))),
        "training jobs": len(jobs),
        "networks": sum(job.members for job in jobs),
        "limit jobs": len(limit_jobs),
        "training operations, 10^12": float(f"{operations / 1e12:.3g}"),
        "training, core hours": float(f"{sum(seconds) / 3600:.3g}"),
        "limits, core hours": float(f"{sum(limit_s) / 3600:.3g}"),
        "longest job, hours on one core": float(f"{max(seconds + limit_s) / 3600:.3g}"),
        "largest memory, GiB": round(
            max([j.cost.memory_mb for j in jobs] + [j.cost.memory_mb for j in limit_jobs]) / 1024, 1
        ),
    }
