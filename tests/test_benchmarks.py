"""The benchmarks compare like with like, and every line's code path runs, on small sizes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not part of the package

from benchmarks import (
    gpu,
    machine,
    neighbours,
    overheads,
    peers,
    render,
    scale,
    solver,
    sweeps,
    timing,
)
from benchmarks import lines as command
from benchmarks.crew import Crew
from benchmarks.peers import METHODS, Sweep, stacked

SMALL = Sweep(width=8, depth=3, members=8, batch_size=4, input_dim=5, outputs=3, samples=20)
FLOOR = {"matmul_gflops": 100.0, "copy_gbytes_per_s": 10.0}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["serial", "vmap", "apart"])
def test_peers_train_the_same_networks(method):
    """Losses after 5 steps agree to float32 round-off, and are not those of the start."""
    first = stacked(SMALL)(1)
    ours, theirs = stacked(SMALL)(5), METHODS[method](SMALL)(5)
    np.testing.assert_allclose(theirs, ours, rtol=2e-5)
    assert np.abs(np.array(ours) / first - 1).max() > 0.05


def test_a_split_sweep_is_the_same_networks():
    whole = stacked(SMALL)(3)
    parts = [loss for part in SMALL.split(2) for loss in stacked(part)(3)]
    np.testing.assert_allclose(parts, whole, rtol=2e-5)


def test_solver_and_dense_peer_train_alike():
    """At n = 3000 losses after a step scatter by 4 % over seeds; they agree to 20 %, and are far from
    those before it."""
    setting = solver.Setting(particles=3000, depth=2, samples=4, evaluations=2, threads=1)
    start = solver.Setting(particles=3000, depth=2, samples=4, evaluations=1, threads=1)
    with torch.no_grad():
        free, dense = solver.matrix_free(setting), solver.dense(setting)
        untrained = solver.dense(start)
    assert free["last_loss"] == pytest.approx(dense["last_loss"], rel=0.2)
    assert dense["last_loss"] < 0.5 * untrained["last_loss"]


class InProcess:
    """Stands in for benchmarks.crew.Crew, whose processes take seconds to start."""

    def __init__(self, jobs, threads, device="cpu", processor=False):
        self.works = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def prepare(self, name, make, parts):
        self.works[name] = [make(part) for part in parts]
        return self.seconds(name, 1)

    def seconds(self, name, steps):
        start = perf_counter()
        for work in self.works[name]:
            work(steps)
        return perf_counter() - start


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(sweeps, "Crew", InProcess)
    monkeypatch.setattr(scale, "Crew", InProcess)


def test_two_processes_work_in_step_and_report_failures():
    with Crew(2, 1) as crew:
        crew.prepare("sweep", stacked, SMALL.split(2))
        assert crew.seconds("sweep", 2) > 0
        with pytest.raises(KeyError):
            crew.seconds("no such work", 1)


def test_the_sweep_line_has_a_row_per_setup_and_method(in_process):
    line = sweeps.sweep_line(
        SMALL,
        FLOOR,
        ((1, 2), (2, 1)),
        target=1.5,
        methods=("serial", "stacked"),
        steps=1,
        repeats=2,
    )
    assert [row["jobs x threads"] for row in line["rows"]] == ["1 x 2"] * 2 + ["2 x 1"] * 2
    assert line["value"]["median"] > 0
    json.dumps(line)


def test_the_gpu_line_runs_on_the_cpu_at_a_small_size(in_process, monkeypatch):
    monkeypatch.setattr(sweeps, "GPU_SWEEP", SMALL)
    measure = sweeps.measure_sweep
    eager = ("stacked", "serial", "vmap")  # compiling takes a minute

    def without_compiling(sweep, jobs, threads, methods, steps, repeats, processor):
        assert methods == (*eager[:2], "compiled", "vmap")
        samples, prepared = measure(sweep, jobs, threads, eager, steps, 1)
        return samples | {"compiled": [1.0]}, prepared | {"compiled": 1.0}

    monkeypatch.setattr(sweeps, "measure_sweep", without_compiling)
    available = command.lines("cuda", {"floor": {"cuda": FLOOR}, "lines": {}})
    assert available["sweep_gpu"]()["value"]["median"] > 0


def test_apart_is_apart(monkeypatch):
    """Only while it runs, every product is small enough to be a member's own."""
    monkeypatch.setattr(peers.trainer, "SHARED", 0)
    monkeypatch.setattr(peers.products, "LARGE", 0)
    sizes = []
    monkeypatch.setattr(peers.products, "of_groups", lambda x, *_: sizes.append(len(x)))
    peers.apart(SMALL)(1)
    assert sizes == []
    assert peers.trainer.SHARED == peers.products.LARGE == 0
    with pytest.raises(TypeError):
        stacked(SMALL)(1)
    assert sizes == [2]  # two seeds


def test_cpu_lines_run_at_small_sizes(in_process):
    peer = {"peer": "apart", "methods": sweeps.EAGER}
    line = sweeps.sweep_line(SMALL, FLOOR, ((1, 1),), target=1.5, steps=1, repeats=2, **peer)
    assert [row["method"] for row in line["rows"]] == ["stacked", "apart", "serial"]
    (same, _) = neighbours.neighbours_line((SMALL,), steps=5, looked_at=2)["rows"]
    assert same["in a stack or alone"] < 1e-6
    assert same["losses by other kernels"] <= same["other numbers by other kernels"] < 1e-5
    shapes = ((8, 2),)
    sizes = sweeps.stack_size_line(shapes, (1, 4), repeats=1, seconds=0.01)
    assert sizes["rows"][0]["fastest"] in (1, 4)
    assert sweeps.threads_line(shapes, members=8, repeats=1, seconds=0.01)["rows"]
    model = scale.training_line([SMALL], [SMALL], repeats=1)
    assert [row["used for"] for row in model["rows"]] == ["fit", "check"]


TINY = solver.Setting(particles=64, depth=2, samples=2, evaluations=2, threads=1)


@pytest.fixture
def in_this_process(monkeypatch):
    """Solver measurements without a process of their own, and without its memory."""
    runs = {**solver.METHODS, "breakdown": solver.breakdown}

    def here(method, setting):
        with torch.no_grad():
            return {
                **runs[method](setting),
                "processor": 1.0,
                "memory_mib": 1.0,
                "libraries_mib": 1.0,
            }

    monkeypatch.setattr(solver, "measure", here)


def test_a_measurement_is_a_process_whose_memory_is_its_own():
    alone = solver.measure("matrix_free", TINY)
    assert alone["libraries_mib"] > 50
    wide = solver.measure("dense", replace(TINY, particles=4096))
    assert 2 * 64 <= wide["memory_mib"] < 2 * 64 + 30  # two matrices of 64 MiB


def test_solver_lines_run_at_small_sizes(in_this_process):
    dense = solver.against_dense_line(FLOOR, TINY, repeats=1)
    assert {row["method"] for row in dense["rows"]} >= {"matrix_free", "dense"}
    assert solver.breakdown_line(TINY, repeats=1)["rows"][0]["share"] == 1
    larger = solver.Setting(particles=640, depth=2, samples=2, evaluations=2, threads=1)
    assert np.isfinite(solver.linearity_line((TINY, larger), repeats=1)["value"]["median"])
    assert len(scale.limit_line((TINY,), (TINY,), repeats=1)["rows"]) == 2


def test_the_observation_line_counts_what_the_solver_is_given(in_this_process):
    """Vectors of each matrix, forward: at every step the batch, at the observed ones the test samples."""
    run = solver.Setting(
        particles=200, depth=2, samples=2, evaluations=5, threads=1, pool=6, test_samples=3
    )
    line = solver.observation_line(run, observed=2)
    few, every = line["rows"]
    assert few["vectors forward"] == 2 * 5 + 3 * 2
    assert every["vectors forward"] == 2 * 5 + 3 * 5
    for observed in (None, 2):
        trial = solver.problem_of(replace(run, observed=observed))
        counted = sum(len(trial.forward_ids(step)) for step in range(5))
        assert counted == 2 * 5 + 3 * (observed or 5)


def test_the_script_for_a_lent_gpu_runs_at_toy_size_and_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "gpu.json"
    plan = replace(gpu.TOY, methods=("stacked", "serial"))
    assert set(gpu.measure(replace(plan, budget_s=-1), path)["items"]) == set()
    found = gpu.measure(plan, path)
    assert set(found["items"]) == set(gpu.ITEMS)
    assert all(item.get("passed", True) for item in found["items"].values())
    assert found["items"]["check_stack"]["float32"] > 0
    assert found["items"]["check_memory"]["stacks"][0] == 8
    del found["items"]["time_solver"]
    path.write_text(json.dumps(found))
    again = gpu.measure(plan, path)
    del again["items"]["time_solver"]
    assert again == found
    assert json.loads(path.read_text())["items"].keys() == gpu.ITEMS.keys()


def test_that_script_needs_torch_numpy_and_the_package_only():
    wanted = [
        "snakemake",
        "yaml",
        "jsonschema",
        "pyarrow",
        "pandas",
        "scipy",
        "matplotlib",
        "tqdm",
        "sklearn",
        "jinja2",
    ]
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({wanted}))\n"
        "from benchmarks.gpu import main\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=command.RESULTS.parents[1])


def test_ratios_are_taken_round_by_round():
    samples = {"slow": [2.0, 40.0, 6.0], "fast": [1.0, 10.0, 3.0]}
    assert timing.ratio(samples, "slow", "fast") == {
        "median": 2.0, "low": 2.0, "high": 4.0, "repeats": 3
    }  # fmt: skip


def test_the_cost_model_recovers_coefficients_and_predicts():
    """From exact synthetic times the fit is exact; a count that costs nothing gets about 0."""
    truth = {
        "step": 1e-4,
        "layer": 2e-5,
        "Gflop": 8e-3,
        "G weight": 0.3,
        "G feature": 0.0,
        "G input": 0.0,
    }
    shapes = [
        (n, L, M, B, d, 10)
        for n in (32, 512)
        for L, d in ((4, 64), (64, 9))
        for M, B in ((1, 8), (9, 64))
    ]
    counts = [scale.step_counts(*shape) for shape in shapes]
    found = scale.fit(counts, [scale.predict(count, truth) for count in counts])
    for name, value in truth.items():
        assert found[name] == pytest.approx(value, rel=0.02, abs=1e-4)


def test_step_counts_are_the_architectures():
    sweep = Sweep(16, 4, 3)
    counts = scale.step_counts(16, 4, 3, 32, 64, 10)
    assert counts["Gflop"] * 1e9 == pytest.approx(3 * sweep.architecture.training_flops(32))
    assert counts["G weight"] * 1e9 == pytest.approx(3 * sweep.architecture.parameters)


def test_a_ten_times_longer_configuration_costs_ten_times():
    one = {
        "step": 0.0,
        "layer": 1e-5,
        "Gflop": 1e-2,
        "G weight": 0.1,
        "G feature": 0.1,
        "G input": 0.1,
    }
    limits = dict.fromkeys(scale.limit_counts(1, 1, 1, 1), 1e-3)
    short = scale.forecast("config/smoke.yaml", one, limits, 1.0)
    assert short["training jobs"] > 0
    assert short["training operations, 10^12"] > 0
    for factors, times in (({"seeds": 10}, 10), ({"width": 2, "depth": 3}, 12)):
        large = scale.forecast("config/smoke.yaml", one, limits, 1.0, **factors)
        assert large["training jobs"] == short["training jobs"]
        growth = large["training operations, 10^12"] / short["training operations, 10^12"]
        # The input layer, 64 times the width, grows with the width alone.
        assert (
            times / 3 < growth <= 1.01 * times
            if "width" in factors
            else growth == pytest.approx(times, rel=0.01)
        )
    jobs = overheads.count_jobs("config/smoke.yaml")
    assert jobs == short["training jobs"] + short["limit jobs"]


def test_many_shapes_are_many_jobs(tmp_path):
    assert overheads.count_jobs(overheads.many_shapes_config(tmp_path, 100)) == 100


def test_job_times_are_read_from_snakemakes_files(tmp_path):
    folder = tmp_path / "laptop" / "benchmarks" / "runs" / "scaling"
    folder.mkdir(parents=True)
    (folder / "a.tsv").write_text("s\th:m:s\tmax_rss\n2.5\t0:00:02\t700.1\n")
    (folder / "b.tsv").write_text("s\th:m:s\tmax_rss\n0.1\t0:00:00\tNA\n")
    assert overheads.job_times(tmp_path) == {
        "runs/scaling": [{"s": 2.5, "max_rss": 700.1}, {"s": 0.1, "max_rss": 0.0}]
    }


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"cpu": "Intel(R) Xeon(R) Processor", "cores": 2}, "2-core-xeon"),
        ({"cpu": "AMD EPYC 7763", "cores": 64}, "64-core-epyc"),
        ({"cpu": "x", "cores": 1, "gpu": "NVIDIA H100 80GB HBM3"}, "h100-80gb-hbm3"),
    ],
)
def test_machines_get_generic_names(facts, name):
    assert machine.file_name(facts) == name


def test_committed_documents_show_the_committed_results():
    for path, text in render.documents(command.RESULTS).items():
        assert path.read_text() == text, f"{path.name}: run python -m benchmarks --render"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_on_the_gpu_never_waits_for_the_host():
    train = stacked(Sweep(16, 4, 4, device="cuda"))
    train(1)
    trainer = train.__closure__[0].cell_contents[0]
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
