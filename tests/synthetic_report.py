"""All that a report is made of, invented, with names that try to break out of the page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import synthetic_tables as synthetic

from nfd.claims.registry import FIGURES
from nfd.claims.rules import CLAIM_COLUMNS
from nfd.evidence.table import COLUMNS
from nfd.pipeline import tables
from nfd.pipeline.config import check
from nfd.pipeline.jobs import expand
from nfd.report.record import describe

HOSTILE = (
    '<script>throw new Error("injected")</script><img src=x onerror=alert(1)> "quoted" \'&amp;\''
)
LABEL = '</title><script>throw Error("label")</script>'
VERDICTS = ("supported", "contradicted", "inconclusive")


def config() -> dict[str, Any]:
    """A checked configuration of two experiments whose data set has a hostile label."""
    shared = {"learning_rates": [0.5], "seeds": 2, "steps": 2, "batch_size": 4}
    return check(
        {
            "preset": "synthetic",
            "dataset": {"name": "digits", "label": LABEL},
            "defaults": shared,
            "experiments": {
                "scaling": {
                    "networks": [{"parametrization": "depth_mup"}],
                    "grids": [{"widths": [8], "depths": [2, 4]}],
                },
                "limit_convergence": {
                    "networks": [{"parametrization": "complete_p"}],
                    "grids": [{"widths": [8], "depths": [2]}],
                    "train_size": 4,
                    "data_order": "shared",
                    "limit": {"particles": 64, "depths": [2], "couplings": ["standard"]},
                },
            },
        }
    )


# What the experiments above draw, and the one of these that no claim uses.
DRAWN = tuple(
    name for name, f in FIGURES.items() if set(f.experiments) <= {"scaling", "limit_convergence"}
)
WITHOUT_CLAIM = DRAWN[-1]
# Findings of the claims below.
FINDINGS = 2 * (len(FIGURES) - 1)


def claims() -> pd.DataFrame:
    """A claim per catalogued figure but one, verdicts in turn; the first is markup wherever it can be."""
    rows = []
    used = [(name, f) for name, f in FIGURES.items() if name != WITHOUT_CLAIM]
    for number, (name, figure) in enumerate(used):
        for decides in (True, False):
            rows.append(
                {
                    "id": f"C{number + 1}",
                    "name": name.replace("_", "-"),
                    "statement": f"{figure.title}, as L^-1/2." if number else HOSTILE,
                    "observable": "gap <i>relative</i>" if decides else HOSTILE,
                    "statistic": "c_inf in gap = c_inf + c L^-r",
                    "estimate": None if number == 3 else 0.123456 * (number - 1),
                    "ci_low": None if number in (3, 4) else 0.1 * (number - 2),
                    "ci_high": None if number in (3, 4) else 0.15 * number,
                    "seeds": 5,
                    "rule": "supported if the interval lies within (-0.15, 0.15)",
                    "verdict": VERDICTS[number % 3],
                    "note": HOSTILE if number == 0 else "2 diverged runs left out",
                    "figure": name,
                    "decides": decides,
                }
            )
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def evidence(name: str) -> pd.DataFrame:
    """Three lines: over depth, a single slope, and a drawn curve without interval."""
    rows = [
        {"quantity": "gap", "source": "network", "depth": depth, "estimate": 1 / depth}
        for depth in (2, 4, 8)
    ]
    rows.append(
        {"quantity": "slope", "source": "fit", "estimate": -1.0, "ci_low": -1.1, "ci_high": -0.9}
    )
    rows.append({"quantity": "gap", "source": "fit", "depth": 3.0, "estimate": 0.3})
    frame = pd.DataFrame(rows).assign(series=HOSTILE, optimizer="sgd")
    return frame.reindex(columns=list(COLUMNS))


def picture(text: str) -> str:
    """An SVG as matplotlib would save it, with text."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!-- made by hand -->\n'
        '<svg xmlns="http://www.w3.org/2000/svg" width="504pt" height="180pt" '
        'viewBox="0 0 504 180.123" version="1.1">\n<metadata>2026</metadata>\n'
        '<path d="M 10.123456 170 \nL 490.987654 10.5" style="fill: none; stroke: #0072b2"/>\n'
        f'<text x="20.5" y="30" font-size="12">{text}: 0.0625 &lt; 1</text></svg>\n'
    )


def make(folder: Path) -> dict[str, Path]:
    """Write it all under ``folder``; returns the arguments of :func:`nfd.report.page.collect`."""
    results, figures, captions = (folder / name for name in ("results", "figures", "captions"))
    for path in (results / "benchmarks" / "evidence", figures, captions):
        path.mkdir(parents=True)
    claims().to_csv(results / "claims.csv", index=False)
    for name in DRAWN:
        (figures / f"{name}.svg").write_text(picture(name))
        evidence(name).to_csv(figures / f"{name}.csv", index=False)
        _benchmark(results / "benchmarks" / "evidence" / f"{name}.tsv", 2.0)
    (captions / "scaling_trend.rst").write_text(
        "Loss over ``width``.\n\nSecond <b>paragraph</b>.\n"
    )
    training, limits = expand(config())
    written = []
    for kind, jobs in (("runs", training), ("limits", limits)):
        for job in jobs:
            written.append(results / kind / job.experiment / f"{job.name}.parquet")
            _table(written[-1], job.experiment)
            _benchmark(results / "benchmarks" / kind / job.experiment / f"{job.name}.tsv", 30.5)
    _benchmark(results / "benchmarks" / "runs" / "scaling" / "from_an_earlier_config.tsv", 1e6)
    describe_run(figures, claims(), config(), written)
    return {
        "claims": results / "claims.csv",
        "results": results,
        "figures": figures,
        "captions": captions,
        "record": recorded(folder / "record", written),
    }


def describe_run(
    folder: Path, findings: pd.DataFrame, settings: dict[str, Any], written: Sequence[Path] = ()
) -> None:
    """Complete a folder of figures to a run that can be compared and recorded."""
    findings.to_csv(folder / "claims.csv", index=False, encoding="utf-8")
    text = describe(settings, written, folder)
    (folder / "provenance.json").write_text(text, encoding="utf-8")


def recorded(folder: Path, written: Sequence[Path] = ()) -> Path:
    """A record that differs: another root seed, one estimate and its verdict, one finding less."""
    folder.mkdir()
    for name in DRAWN:
        evidence(name).to_csv(folder / f"{name}.csv", index=False)
    findings = claims().iloc[:-1].copy()
    changed = (findings["id"] == "C6") & findings["decides"]
    findings.loc[changed, ["estimate", "ci_low", "ci_high"]] = [1.5, 1.3, 1.7]
    findings.loc[changed, "verdict"] = "contradicted"
    describe_run(folder, findings, {**config(), "root_seed": 1}, written)
    return folder


def arguments(paths: dict[str, Path]) -> list[str]:
    """The same as arguments of scripts/make_report.py."""
    named = [text for name, path in paths.items() for text in (f"--{name}", str(path))]
    return ["--config", json.dumps(config()), *named]


def _table(path: Path, experiment: str) -> None:
    run = synthetic.runs(experiment, widths=(8,), depths=(2,), seeds=(0,))
    rows = synthetic.measured(run, "loss", "train", [0], lambda frame: np.ones(len(frame)))
    facts = {"code_version": "0123456789ab", "device": HOSTILE, "dataset_digest": "f" * 64}
    tables.write_results(rows, path, {**facts, "wall_time_s": "30"})


def _benchmark(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
        f"{seconds}\t0:00:01\t512.00\t-\t-\t-\t0.00\t0.00\t90.00\t{seconds - 0.5}\n"
    )
