"""The report: one HTML page that holds verdicts, figures, tables and provenance, and loads nothing.

:func:`render` turns plain data into the page; :func:`collect` gathers that data from what the pipeline
wrote. Everything that comes from a table, a file or the configuration is escaped.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nfd.claims.registry import FIGURES
from nfd.data.sources import label_of
from nfd.network.parametrization import PARAMETRIZATIONS, Parametrization
from nfd.network.roles import ROLE_NAMES
from nfd.pipeline.config import config_digest
from nfd.pipeline.jobs import expand
from nfd.pipeline.progress import duration
from nfd.pipeline.provenance import code_version
from nfd.report.compare import Comparison, compare, read_run, rows, summary
from nfd.report.costs import Cost, read_costs
from nfd.report.figures import FigureBlock, drawn_figures, figure_blocks
from nfd.report.findings import (
    VERDICTS,
    ClaimSection,
    certainty_sentences,
    read_claims,
    read_findings,
)
from nfd.report.record import Fact, gather_provenance, provenance_warnings
from nfd.report.text import memory, typeset

PAPER: Mapping[str, str] = {
    "title": "Understanding Scaling Laws in Deep Neural Networks via Feature Learning Dynamics",
    "authors": "Yao, Wu, Gao",
    "arxiv": "2512.21075",
    "url": "https://arxiv.org/abs/2512.21075",
}


def parametrization_rows(names: Iterable[str]) -> list[dict[str, Any]]:
    """The table of exponents, from :meth:`nfd.network.parametrization.Parametrization.describe`."""
    return [_parametrization_row(PARAMETRIZATIONS[name]) for name in names]


def _parametrization_row(row: Parametrization) -> dict[str, Any]:
    described = row.describe()
    roles = []
    for role, name in ROLE_NAMES.items():
        multiplier, sgd, adam = described[role].split(" | ")
        roles.append({"name": name, "multiplier": multiplier, "sgd": sgd, "adam": adam})
    return {"name": row.name, "branch": described["branch"], "roles": roles}


def used_parametrizations(config: Mapping[str, Any]) -> list[str]:
    """Those a configuration trains, in the order of the table."""
    used = {
        network["parametrization"]
        for settings in config["experiments"].values()
        for network in settings["networks"]
    }
    return [name for name in PARAMETRIZATIONS if name in used]


def collect(
    config: Mapping[str, Any],
    *,
    claims: str | Path,
    results: str | Path,
    figures: str | Path,
    captions: str | Path | None = None,
    record: str | Path | None = None,
) -> dict[str, Any]:
    """All that the page shows, for :func:`render`.

    ``config`` is checked (:func:`nfd.pipeline.config.check`); ``results`` and ``figures`` are the preset's
    folders. Of the tables in ``results`` only those of the configuration's jobs are read. ``record`` is the
    folder of the preset's record, if it has one.
    """
    results = Path(results)
    training, limits = expand(config)
    jobs = [(results / "runs", job) for job in training] + [(results / "limits", j) for j in limits]
    tables = [folder / job.experiment / f"{job.name}.parquet" for folder, job in jobs]
    facts, making = gather_provenance(tables)
    costs = read_costs(results / "benchmarks", [(job.experiment, job.name) for _, job in jobs])
    sections = read_claims(claims)
    blocks = figure_blocks(sections, drawn_figures(config), Path(figures), captions)
    networks = sum(job.members for job in training)
    simulations = sum(job.settings.simulations for job in limits)
    digest = config_digest(config)
    return {
        "preset": config["preset"],
        "dataset": label_of(config["dataset"]),
        "digest": digest,
        "claims": sections,
        "certainty": certainty_sentences(read_findings(claims)),
        "figures": blocks,
        "provenance": [
            Fact("Configuration", [(f"preset {config['preset']}, digest {digest}", making.tables)]),
            Fact("This page", [(f"code version {code_version()}", making.tables)]),
            *facts,
            Fact("Tables", [(str(making), making.tables)]),
        ],
        "table_count": making.tables,
        "warnings": provenance_warnings(facts),
        "comparison": compare(read_run(record), read_run(figures)) if record else None,
        "costs": costs,
        "facts": [
            f"{networks:,} networks trained",
            *([f"{simulations:,} limit simulations"] if simulations else []),
            f"configuration {digest}",
            f"code {code_version()}",
        ],
        "configuration": yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True),
        "parametrizations": parametrization_rows(used_parametrizations(config)),
    }


def collect_tables(
    names: Iterable[str],
    tables: Sequence[str | Path],
    *,
    title: str,
    dataset: str,
    claims: str | Path,
    figures: str | Path,
    captions: str | Path | None = None,
) -> dict[str, Any]:
    """The same for tables of runs that another code wrote: no configuration, no costs, no record.

    ``names`` are the parametrizations in the tables; the figures shown are those in the folder ``figures``.
    """
    sections = read_claims(claims)
    drawn = [name for name in FIGURES if Path(figures, f"{name}.csv").exists()]
    version = f"code version {code_version()}"
    return {
        "preset": title,
        "dataset": dataset,
        "digest": "",
        "claims": sections,
        "certainty": certainty_sentences(read_findings(claims)),
        "figures": figure_blocks(sections, drawn, Path(figures), captions),
        "provenance": [
            Fact("Tables, made elsewhere", [(Path(path).name, 1) for path in tables]),
            Fact("Judged with", [(version, len(tables))]),
        ],
        "table_count": len(tables),
        "warnings": [],
        "comparison": None,
        "costs": [],
        "facts": ["tables of another code", f"judged with {version}"],
        "configuration": "",
        "parametrizations": parametrization_rows(
            [name for name in PARAMETRIZATIONS if name in set(names)]
        ),
    }


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as built-in types, which is what YAML can write."""
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


def render(content: Mapping[str, Any]) -> str:
    """The page as one HTML text, from what :func:`collect` returns."""
    loader = PackageLoader("nfd.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(typeset=typeset, duration=duration, memory=memory)
    style, script = (loader.get_source(environment, f"report.{kind}")[0] for kind in ("css", "js"))
    claims: Sequence[ClaimSection] = content["claims"]
    counts = Counter(claim.verdict for claim in claims)
    costs: Sequence[Cost] = content["costs"]
    comparison: Comparison | None = content["comparison"]
    return environment.get_template("report.html.j2").render(
        **{key: value for key, value in content.items() if key not in ("claims", "figures")},
        claims=[_with_figures(claim, content["figures"]) for claim in claims],
        compared=rows(comparison) if comparison else [],
        compared_in_words=summary(comparison, "as recorded") if comparison else [],
        other_figures=[figure for figure in content["figures"] if not figure.home],
        paper=PAPER,
        tally=[(verdict, counts[verdict]) for verdict in VERDICTS],
        cost_total={
            "jobs": sum(cost.jobs for cost in costs),
            "wall": duration(sum(cost.wall_s for cost in costs)),
        },
        # Part of the package, not of the data: the only text that is not escaped.
        style=Markup(style),
        script=Markup(script),
        style_hash=security_hash(style),
        script_hash=security_hash(script),
    )


def _with_figures(claim: ClaimSection, figures: Sequence[FigureBlock]) -> dict[str, Any]:
    used = {finding.figure for finding in claim.findings}
    names = (
        "id",
        "name",
        "statement",
        "verdict",
        "order",
        "anchor",
        "deciding",
        "others",
        "headline",
    )
    shown = {name: getattr(claim, name) for name in (*names, "verdict_order")}
    return {**shown, "figures": [figure for figure in figures if figure.name in used]}


def security_hash(text: str) -> str:
    """Hash by which the page's security policy knows its own style and script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
