"""`python -m benchmarks --gpu`: what a GPU that is lent for ten minutes can tell, right numbers first.

Needs torch, numpy and the package, no Snakemake. Writes one JSON file after every item; called again, it goes
on with the items that the file lacks. Without a GPU `--toy` runs the same items on the CPU in seconds.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks import machine
from benchmarks.peers import METHODS, Sweep, stacked, train_flops
from benchmarks.solver import Setting, problem_of
from benchmarks.timing import interleave, ratio, summary
from nfd.limit import network as limit_network
from nfd.limit.gaussian import Noise
from nfd.limit.simulate import simulate_limit
from nfd.network.couplings import COUPLINGS
from nfd.training import train as training
from nfd.training.batches import TrainingData
from nfd.training.checkpoint import Checkpoint, Interrupted
from nfd.training.train import TrainingResult
from nfd.training.trainer import Member, Trainer

Found = dict[str, Any]
# Relative to the largest number: what another order of summation may change in float64.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Plan:
    """Where and how much: ``checked`` is trained for correctness, ``sweep`` timed; particles of the limit."""

    device: str
    checked: Sweep
    sweep: Sweep
    particles: tuple[int, ...]
    methods: tuple[str, ...] = ("stacked", "serial", "compiled", "vmap")
    repeats: int = 3
    budget_s: float = 540.0


GPU = Plan("cuda", Sweep(64, 8, 16), Sweep(128, 64, 256, device="cuda"), (100_000, 1_000_000))
TOY = Plan(
    "cpu",
    Sweep(8, 2, 8, batch_size=4, input_dim=5, outputs=3, samples=20),
    Sweep(8, 2, 8, batch_size=4, input_dim=5, outputs=3, samples=20),
    (64, 128),
    methods=("stacked", "serial", "vmap"),
    repeats=1,
)


# -------------------------------------------------------------------------------- right numbers


def check_stack(plan: Plan) -> Found:
    """Networks of all couplings in float64 on the device against the CPU, and in float32."""
    exact = _trained(plan, "cpu", torch.float64)
    same = _difference(_trained(plan, plan.device, torch.float64), exact)
    single = _difference(_trained(plan, plan.device, torch.float32), exact)
    return {"float64": same, "float32": single, "passed": same < ROUNDING and single < 1e-3}


def check_limit(plan: Plan) -> Found:
    """The limit in float64 on the device against the CPU, from the same noise."""
    problem = problem_of(Setting(particles=0, depth=3, samples=4, evaluations=5, threads=1))
    with patch.object(limit_network, "Noise", _NoiseOfTheCpu):
        here, there = (
            simulate_limit(problem, 500, 0, device=device, dtype=torch.float64).outputs
            for device in (plan.device, "cpu")
        )
    difference = float(np.abs(here - there).max() / np.abs(there).max())
    return {"float64": difference, "passed": difference < ROUNDING}


def check_checkpoint(plan: Plan) -> Found:
    """Training that is stopped and resumed, against undisturbed training: every bit."""
    whole = _trained(plan, plan.device, torch.float32)
    with TemporaryDirectory() as folder:
        stopped = Checkpoint(Path(folder) / "state.pt", "key")
        stopped.signal = 15
        with suppress(Interrupted):
            _trained(plan, plan.device, torch.float32, checkpoint=stopped)
        again = Checkpoint(stopped.path, "key")
        resumed = _trained(plan, plan.device, torch.float32, checkpoint=again)
    return {"passed": stopped.signal == 15 and resumed.rows == whole.rows}


def check_memory(plan: Plan) -> Found:
    """A stack for which the memory does not suffice is halved, and the numbers are the same."""
    tried: list[int] = []

    class Small(Trainer):
        def __init__(self, architecture: Any, members: Sequence[Member], *rest: Any, **more: Any):
            tried.append(len(members))
            if len(members) > 3:
                raise torch.OutOfMemoryError("as if")
            super().__init__(architecture, members, *rest, **more)

    whole = _trained(plan, plan.device, torch.float64)
    with patch.object(training, "Trainer", Small):
        halved = _trained(plan, plan.device, torch.float64)
    shrunk = all(later <= earlier for earlier, later in pairwise(tried)) and min(tried) <= 3
    return {"stacks": tried, "passed": shrunk and _difference(halved, whole) < ROUNDING}


def _trained(plan: Plan, device: str, dtype: torch.dtype, **options: Any) -> TrainingResult:
    sweep = plan.checked
    couplings = [name for name, c in COUPLINGS.items() if 1 in c.block_layers]
    members = [
        replace(member, coupling=couplings[number % len(couplings)])
        for number, member in enumerate(sweep.networks)
    ]
    x, y = sweep.data.inputs, sweep.data.targets
    batches = {seed: order[:6] for seed, order in sweep.data.batches.items()}
    data = TrainingData(x, y, batches, {"train": (x[:50], y[:50])}, (x[:8], y[:8]))
    return training.train(
        sweep.architecture,
        members,
        data,
        log_steps=[1, 3],
        probes=["output_change", "features", "coupling", "kernel"],
        device=device,
        dtype=dtype,
        **options,
    )


def _difference(one: TrainingResult, other: TrainingResult) -> float:
    """Largest difference of two trainings of the same networks, each metric relative to its largest."""
    worst = 0.0
    for metric in {row["metric"] for row in one.rows}:
        a, b = (_numbers(result, metric) for result in (one, other))
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300)))
    return worst


def _numbers(result: TrainingResult, metric: str) -> np.ndarray:
    """A metric's numbers in an order that does not depend on how the networks were stacked."""
    rows = [row for row in result.rows if row["metric"] == metric]
    order = sorted((row["member"], row["step"], row["split"], row["value"]) for row in rows)
    return np.array([value for *_, value in order])


class _NoiseOfTheCpu(Noise):
    """Draws on the CPU whatever the device is, so that both get the same numbers."""

    def __init__(
        self, size: int, seeds: Sequence[int], dtype: torch.dtype, device: torch.device, sign: int
    ) -> None:
        super().__init__(size, seeds, dtype, "cpu", sign)
        self.device = device

    def fill(self, out: torch.Tensor) -> torch.Tensor:
        return out.copy_(super().fill(torch.empty_like(out, device="cpu")))


# ----------------------------------------------------------------------------------------- speed


def time_sweep(plan: Plan) -> Found:
    """The sweep by each method; the target is a hundredth of the plain loop's time."""
    steps = 3
    works = {name: METHODS[name](plan.sweep) for name in plan.methods}

    def seconds(work: Callable[[int], Any]) -> float:
        machine.synchronize(plan.device)
        start = monotonic()
        work(steps)
        machine.synchronize(plan.device)
        return monotonic() - start

    candidates = {name: lambda work=work: seconds(work) for name, work in works.items()}
    with torch.enable_grad():
        samples = interleave(candidates, plan.repeats)
    return {
        "operations per step": train_flops([plan.sweep]),
        "seconds per step": {
            name: summary([s / steps for s in found]) for name, found in samples.items()
        },
        "serial takes x": {name: ratio(samples, "serial", name) for name in samples},
    }


def time_solver(plan: Plan) -> Found:
    """Seconds of a limit simulation, 8 layers and 64 vectors in each direction."""
    found = {}
    for particles in plan.particles:
        setting = Setting(particles=particles, depth=8, samples=8, evaluations=8, threads=1)
        problem = problem_of(setting)
        times = []
        for _ in range(plan.repeats + 1):
            start = monotonic()
            simulate_limit(problem, particles, 0, device=plan.device)
            machine.synchronize(plan.device)
            times.append(monotonic() - start)
        found[str(particles)] = summary(times[1:])
    return {"seconds": found}


def time_graph(plan: Plan) -> Found:
    """One step of a small stack as it is, and captured in a CUDA graph: what its launches cost."""
    if plan.device != "cuda":
        return {"skipped": "there are no CUDA graphs without CUDA"}
    found = {}
    for members in (16, plan.sweep.members):
        train = stacked(plan.sweep.resized(members))
        (trainer,) = next(
            cell.cell_contents
            for cell in train.__closure__ or ()
            if isinstance(cell.cell_contents, list)
        )
        train(3)
        graph = torch.cuda.CUDAGraph()
        trainer.step = 0
        with torch.cuda.graph(graph):
            trainer.advance()

        def eager(trainer: Trainer = trainer) -> float:
            trainer.step = 0
            return _seconds(trainer.advance)

        captured = interleave({"eager": eager, "graph": lambda g=graph: _seconds(g.replay)}, 5)
        found[str(members)] = {name: summary(times) for name, times in captured.items()}
    return {"seconds per step, by networks": found}


def _seconds(call: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    start = monotonic()
    call()
    torch.cuda.synchronize()
    return monotonic() - start


ITEMS: dict[str, Callable[[Plan], Found]] = {
    "check_stack": check_stack,
    "check_limit": check_limit,
    "check_checkpoint": check_checkpoint,
    "check_memory": check_memory,
    "time_solver": time_solver,
    "time_graph": time_graph,
    "time_sweep": time_sweep,  # last: how long compiling takes is not known
}


def measure(plan: Plan, path: Path) -> Found:
    """Do the items that the file lacks, as long as the budget lasts; returns what it holds then."""
    start = monotonic()
    found: Found = json.loads(path.read_text()) if path.exists() else {"items": {}}
    found["device"] = torch.cuda.get_device_name() if plan.device == "cuda" else "cpu, at toy sizes"
    found["torch"] = torch.__version__
    for name, item in ITEMS.items():
        if name in found["items"] or monotonic() - start > plan.budget_s:
            continue
        with torch.no_grad():
            found["items"][name] = item(plan)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(name, json.dumps(found["items"][name]), flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks --gpu", description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="this script")
    parser.add_argument("--toy", action="store_true", help="on the CPU, at sizes of no interest")
    parser.add_argument("--output", default="gpu.json", type=Path, help="file to write, JSON")
    arguments = parser.parse_args(argv)
    if not arguments.toy and not torch.cuda.is_available():
        parser.error("torch sees no GPU; --toy tries the script on the CPU")
    found = measure(TOY if arguments.toy else GPU, arguments.output)
    checks = [item["passed"] for item in found["items"].values() if "passed" in item]
    return 0 if all(checks) else 1
