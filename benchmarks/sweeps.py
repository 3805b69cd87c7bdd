"""Stacked training against what a user would run: the sweep lines of the speed table."""

from collections.abc import Callable
from typing import Any

from benchmarks.crew import Crew
from benchmarks.machine import Facts
from benchmarks.peers import METHODS, Sweep, stacked, train_bytes, train_flops
from benchmarks.timing import Samples, interleave, ratio, summary

Line = dict[str, Any]

AGAINST = {
    "serial": "one run after another, torch.nn.Linear and torch.optim.SGD",
    "apart": "the same with each run's products by themselves (how it was before they were shared)",
}
EAGER = ("stacked", "apart", "serial")
CPU_SWEEP = Sweep(width=128, depth=64, members=16)
GPU_SWEEP = Sweep(width=128, depth=64, members=256, device="cuda")
# CIFAR-10's pixels, in which the input layer costs as much as 16 hidden ones, and the 64 of digits.
PIXELS = Sweep(width=128, depth=16, members=16, batch_size=64, input_dim=3072)
DIGITS = Sweep(width=64, depth=16, members=16)
# Shapes of the laptop preset and beyond, for the choice of stack size and of threads or jobs.
SHAPES = ((32, 4), (64, 16), (64, 64), (128, 16), (128, 64), (256, 16), (256, 64), (512, 16))
STACK_SIZES = (1, 2, 4, 8, 16, 32)


def measure_sweep(
    sweep: Sweep,
    jobs: int,
    threads: int,
    methods: tuple[str, ...],
    steps: int,
    repeats: int,
    processor: bool = False,
) -> tuple[Samples, dict[str, float]]:
    """Seconds that ``steps`` steps of the whole sweep take by each method, and that preparing took."""
    with Crew(jobs, threads, sweep.device, processor) as crew:
        parts = sweep.split(jobs)
        prepared = {name: crew.prepare(name, METHODS[name], parts) for name in methods}
        samples = interleave(
            {name: lambda name=name: crew.seconds(name, steps) for name in methods}, repeats
        )
    return samples, prepared


def sweep_line(
    sweep: Sweep,
    floor: Facts,
    setups: tuple[tuple[int, int], ...],
    *,
    target: float,
    peer: str = "serial",
    methods: tuple[str, ...] = ("stacked", "serial", "compiled", "vmap"),
    steps: int = 10,
    repeats: int = 7,
    processor: bool = False,
) -> Line:
    """A sweep in each setup (jobs, threads); the line's value is the least ratio to ``peer`` over setups."""
    flops, traffic = train_flops([sweep]), train_bytes(sweep)
    rows, ratios = [], []
    for jobs, threads in setups:
        samples, prepared = measure_sweep(sweep, jobs, threads, methods, steps, repeats, processor)
        for name in methods:
            step = summary([seconds / steps for seconds in samples[name]])
            rows.append(
                {
                    "jobs x threads": f"{jobs} x {threads}",
                    "method": name,
                    "ms per step of the sweep": _scaled(step, 1e3),
                    "GFLOP/s": round(flops / step["median"] / 1e9, 1),
                    "share of matmul rate": round(
                        flops / step["median"] / 1e9 / floor["matmul_gflops"], 3
                    ),
                    "serial takes x": ratio(samples, "serial", name),
                }
                # Compilers work in processes of their own, whose processor time is not seen.
                | ({} if processor else {"first step, s": round(prepared[name], 1)})
            )
        ratios.append(ratio(samples, peer, "stacked"))
    worst = min(ratios, key=lambda r: r["median"])
    return {
        "what": f"{sweep.members} runs, width {sweep.width}, depth {sweep.depth}, batch "
        f"{sweep.batch_size}, {sweep.input_dim} pixels, "
        f"{'GPU' if sweep.device == 'cuda' else 'CPU'}: training steps"
        + (", processor time, one thread" if processor else ""),
        "against": AGAINST[peer],
        "target": f">= {target:g}x",
        "value": worst,
        "unit": "x",
        "met": worst["median"] >= target,
        "rows": rows,
        "floor": {
            "operations per step": flops,
            "least bytes per step": traffic,
            "operations at matmul rate, ms": _milliseconds(flops / floor["matmul_gflops"]),
            "bytes at copy rate, ms": _milliseconds(traffic / floor["copy_gbytes_per_s"]),
        },
    }


def stack_size_line(
    shapes: tuple[tuple[int, int], ...] = SHAPES,
    sizes: tuple[int, ...] = STACK_SIZES,
    *,
    repeats: int = 5,
    seconds: float = 0.1,
    largest_mib: int = 400,
) -> Line:
    """Processor time per network and step against the stack's size; and the pipeline's choice."""
    rows = []
    with Crew(1, 1, processor=True) as crew:
        for width, depth in shapes:
            sweeps = {
                size: Sweep(width, depth, size)
                for size in sizes
                if 4 * size * depth * width**2 < largest_mib * 2**20
            }
            steps = {}
            for size, sweep in sweeps.items():
                crew.prepare(str(size), _one_stack, [sweep])
                steps[size] = max(1, round(seconds / crew.seconds(str(size), 1)))
            samples = interleave(
                {str(size): _per_network(crew, size, steps[size]) for size in sweeps}, repeats
            )
            medians = {size: summary(samples[str(size)])["median"] for size in sweeps}
            best = min(medians, key=medians.get)
            # The largest measured size that the pipeline's own choice admits.
            chosen = Sweep(width, depth, max(sizes)).stack_size
            taken = max(size for size in sweeps if size <= chosen)
            rows.append(
                {"width": width, "depth": depth}
                | {
                    f"{size}": _scaled(summary(samples[str(size)]), 1e3)["median"]
                    for size in sweeps
                }
                | {
                    "fastest": best,
                    "pipeline": chosen,
                    "pipeline / fastest": round(medians[taken] / medians[best], 2),
                }
            )
    worst = max(row["pipeline / fastest"] for row in rows)
    return {
        "what": "networks stacked at once: processor ms per network and step, by stack size",
        "against": "the fastest measured size",
        "target": "<= 1.2x",
        "value": {"median": worst, "repeats": repeats},
        "unit": "x",
        "met": worst <= 1.2,
        "rows": rows,
    }


def _per_network(crew: Crew, size: int, steps: int) -> Callable[[], float]:
    return lambda: crew.seconds(str(size), steps) / steps / size


def _one_stack(sweep: Sweep) -> Any:
    return stacked(sweep, stack_size=sweep.members)


def threads_line(
    shapes: tuple[tuple[int, int], ...] = SHAPES,
    *,
    members: int = 16,
    repeats: int = 5,
    seconds: float = 0.2,
) -> Line:
    """The same sweep on two cores: two jobs with one thread each against one job with two threads."""
    rows, ratios = [], []
    with Crew(2, 1) as pair, Crew(1, 2) as single:
        for width, depth in shapes:
            sweep = Sweep(width, depth, members)
            pair.prepare("sweep", stacked, sweep.split(2))
            single.prepare("sweep", stacked, [sweep])
            steps = max(1, round(seconds / single.seconds("sweep", 1)))
            samples = interleave(
                {
                    "2 jobs": lambda steps=steps: pair.seconds("sweep", steps) / steps,
                    "2 threads": lambda steps=steps: single.seconds("sweep", steps) / steps,
                },
                repeats,
            )
            gain = ratio(samples, "2 threads", "2 jobs")
            ratios.append(gain["median"])
            rows.append(
                {
                    "width": width,
                    "depth": depth,
                    "2 jobs x 1 thread, ms per step": _scaled(summary(samples["2 jobs"]), 1e3),
                    "1 job x 2 threads, ms per step": _scaled(summary(samples["2 threads"]), 1e3),
                    "threads take x": gain,
                }
            )
    least = min(ratios)
    return {
        "what": f"{members} runs on two cores as two jobs of one thread (the pipeline's choice)",
        "against": "one job of two threads",
        "target": ">= 1x",
        "value": {"median": least, "repeats": repeats},
        "unit": "x",
        "met": least >= 1,
        "rows": rows,
    }


def _scaled(value: dict[str, Any], factor: float) -> dict[str, Any]:
    return {
        key: number if key == "repeats" else float(f"{number * factor:.4g}")
        for key, number in value.items()
    }


def _milliseconds(giga: float) -> float:
    """Milliseconds from (number / rate in 10^9 per second)."""
    return float(f"{giga / 1e6:.3g}")
