"""Tables of docs/benchmarks.md and docs/scale.md, from benchmarks/results/*.json."""

import json
from pathlib import Path
from typing import Any

from benchmarks.overheads import ROOT
from benchmarks.scale import forecast
from nfd.report.verdicts import between_markers

DOCS = ROOT / "docs"
MEASURED = "python -m benchmarks"  # what the marker says of the tables of lines
Results = dict[str, Any]

SPEED_LINES = (
    "sweep_gpu",
    "sweep_cpu",
    "sweep_processor",
    "pixels",
    "pixels_shared",
    "digits",
    "neighbours",
    "solver",
    "solver_observed",
    "solver_one_step",
    "observation",
    "linearity",
    "preset",
    "dry_run",
    "dry_run_many",
)
DETAILS = {
    "sweep_cpu": "Stacked training against its peers",
    "sweep_processor": "The same in processor time",
    "sweep_gpu": "Stacked training on the GPU",
    "pixels": "CIFAR-10's pixels, in processor time",
    "digits": "Digits, in processor time",
    "neighbours": "What stacking changes in a network's numbers",
    "stack_size": "How many networks to stack on a CPU",
    "threads": "Threads or jobs",
    "solver": "The limit solver against dense simulation",
    "solver_observed": "The limit solver against dense simulation with the same observables",
    "solver_one_step": "The same number of vectors in one step",
    "observation": "A whole training run, looked at now and then",
    "linearity": "The limit solver's cost in n",
    "breakdown": "Where the limit solver's time goes",
    "preset": "The laptop preset",
    "imports": "Process start and imports",
    "snakemake": "Snakemake's own time",
}
FORECASTS: tuple[tuple[str, dict[str, int]], ...] = (
    ("config/config.yaml", {}),
    ("config/cifar10_cpu.yaml", {}),
    ("config/cifar10_night.yaml", {}),
    ("config/cifar10.yaml", {}),
    ("config/cifar10.yaml", {"seeds": 10}),
    ("config/cifar10.yaml", {"width": 4, "depth": 2, "steps": 10, "seeds": 3}),
)


def documents(results: Path) -> dict[Path, str]:
    """Text of each document with its tables renewed."""
    machines = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    speed, scale = DOCS / "benchmarks.md", DOCS / "scale.md"
    told = _renewed(speed.read_text(), "verdicts", _verdicts(machines))
    return {
        speed: _renewed(told, MEASURED, _benchmarks(machines)),
        scale: _renewed(scale.read_text(), MEASURED, _scale(machines)),
    }


def write(results: Path) -> None:
    """Renew the documents."""
    for path, text in documents(results).items():
        path.write_text(text)


def _benchmarks(machines: dict[str, Results]) -> str:
    parts = []
    for name, found in machines.items():
        lines = found["lines"]
        summary = [
            {
                "what": line["what"],
                "against": line["against"],
                "target": line["target"],
                "measured": f"{_number(line['value'])} {line['unit']}".strip(),
                "met": {True: "yes", False: "**no**", None: ""}[line["met"]],
            }
            for line in (lines[key] for key in SPEED_LINES if key in lines)
        ]
        parts += [f"## {name}", _facts(found)]
        parts += [_table(summary)]
        for key, title in DETAILS.items():
            if key in lines:
                parts += [f"### {title}", _line(lines[key])]
    return "\n\n".join(parts)


def _scale(machines: dict[str, Results]) -> str:
    parts = []
    for name, found in machines.items():
        lines = found["lines"]
        if not {"scale_training", "scale_limit", "imports"} <= set(lines):
            continue
        models = [lines[key]["coefficients"] for key in ("scale_training", "scale_limit")]
        start = lines["imports"]["value"]["median"]
        needs = [forecast(config, *models, start, **factors) for config, factors in FORECASTS]
        parts += [f"## Measured on {name}", _facts(found)]
        for key, title in (("scale_training", "Training"), ("scale_limit", "Limits")):
            coefficients = [
                {"count": count, "seconds each": f"{value:.3g}"}
                for count, value in lines[key]["coefficients"].items()
            ]
            error = lines[key]["value"]
            parts += [
                f"### {title}",
                _table(coefficients),
                f"On shapes not used for the fit the relative error is {error['median']:.0%} in the "
                f"median and {error['high']:.0%} at most.",
                _line(lines[key]),
            ]
        parts += ["### What the configurations need, by this model", _table(needs)]
    return "\n\n".join(parts)


def _facts(found: Results) -> str:
    facts = [f"{key}: {value}" for key, value in found["machine"].items()]
    floors = [
        f"{device}: matrix product {f['matmul_gflops']} GFLOP/s, copy {f['copy_gbytes_per_s']} GB/s "
        "(float32)"
        for device, f in found["floor"].items()
    ]
    return "; ".join(facts) + ".\nFloor: " + "; ".join(floors) + "."


def _line(line: dict[str, Any]) -> str:
    seen = line["circumstances"]
    edited = ", uncommitted edits" if seen["modified"] else ""
    parts = [_table(line["rows"])] if line["rows"] else []
    if "floor" in line:
        parts.append("; ".join(f"{key}: {value:,}" for key, value in line["floor"].items()) + ".")
    parts.append(
        f"*{seen['date']}, commit {seen['commit']}{edited}, {line['value']['repeats']} repeats, "
        f"load {seen['load_1min']} before and {seen['load_after']} after.*"
    )
    return "\n\n".join(parts)


def _verdicts(machines: dict[str, Results]) -> str:
    """What verdicts cost, of each machine on which a run was reckoned."""
    parts = []
    for name, found in machines.items():
        if "verdicts" in found["lines"]:
            line = found["lines"]["verdicts"]
            value, made = line["value"]["median"], line["made with"]
            origin = [f"{key}: {', '.join(values)}" for key, values in made.items()]
            parts += [
                f"Run reckoned on {name}: {value} {line['what']}, {line['unit']} "
                f"({line['against']}).",
                _table(line["rows"]),
                f"Seconds were measured for {line['jobs'] - line['estimated jobs']} of {line['jobs']} "
                "jobs; of the rest the store had some networks, and they count by their estimates.",
                f"*Configuration {line['configuration']}, judged with {line['judged with']}. Made with "
                f"{'; '.join(origin)}.*",
            ]
    return "\n\n".join(parts) or "*No finished run has been reckoned yet.*"


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[_number(row.get(column)) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(value: Any) -> str:
    """A number; of repeats the median, and in brackets the spread."""
    if isinstance(value, dict):
        spread = f" ({_number(value['low'])}–{_number(value['high'])})" if "low" in value else ""
        return _number(value["median"]) + spread
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)


def _renewed(text: str, name: str, table: str) -> str:
    """``text`` with a new table between the markers of this name."""
    begin, end = (f"<!-- {side} generated: {name} -->" for side in ("begin", "end"))
    return between_markers(text, table, begin, end)
