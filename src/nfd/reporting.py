"""The report: one HTML page that holds verdicts, figures, tables and provenance, and loads nothing.

:func:`render` turns plain data into the page; the functions before it collect that data from what the
pipeline wrote: the claims (:mod:`nfd.claims`), the figures and the tables behind them, the provenance in
the tables of runs, and the benchmark files of Snakemake. Everything that comes from a table, a file or the
configuration is escaped.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from math import isfinite, isnan
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from nfd.catalogue import FIGURES
from nfd.claims import CLAIM_COLUMNS, CONTRADICTED, INCONCLUSIVE, SUPPORTED, overall
from nfd.parametrization import PARAMETRIZATIONS, Parametrization
from nfd.pipeline.config import config_digest
from nfd.pipeline.jobs import expand
from nfd.pipeline.tables import code_version, read_provenance

PAPER: Mapping[str, str] = {
    "title": "Understanding Scaling Laws in Deep Neural Networks via Feature Learning Dynamics",
    "authors": "Yao, Wu, Gao",
    "arxiv": "2512.21075",
    "url": "https://arxiv.org/abs/2512.21075",
}
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE)
ROLE_NAMES: Mapping[str, str] = {
    "input": "U, input",
    "hidden_1": "W1, first of two",
    "hidden_2": "W2, or W of one",
    "output": "V, output",
}
# What the tables say about themselves, in the order in which the report shows it.
PROVENANCE_NAMES: Mapping[str, str] = {
    "code_version": "Code version",
    "dataset": "Data set",
    "dataset_digest": "Data digest",
    "device": "Device",
    "precision": "Precision",
    "tf32": "TF32",
    "machine": "Machine",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "scikit-learn",
}
# Rows of the 'in numbers' table of a figure; the rest is in its csv.
MOST_LINES = 60


class ReportError(ValueError):
    """An input the report cannot show; the message names the file or column at fault."""


# --------------------------------------------------------------------------------------- text


def number(value: float) -> str:
    """Three significant digits, or a whole number, with a true minus sign; empty for NaN."""
    value = float(value)
    if isnan(value):
        return ""
    if not isfinite(value):
        return "∞" if value > 0 else "−∞"
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:.0f}".replace("-", "−")
    if not 1e-3 <= abs(value) < 1e4:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits}·10^{int(exponent)}".replace("-", "−")
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def typeset(text: str) -> Markup:
    """Escaped text with ``x^y`` and ``x_inf`` as super- and subscripts, ``code`` as code."""
    marked = str(escape(text))
    marked = re.sub(r"``(.+?)``", r"<code>\1</code>", marked)
    marked = re.sub(r"\^\(([^()<>]+)\)", r"<sup>\1</sup>", marked)
    marked = re.sub(r"\^([-+−]?[\w.]+(?:/\d+)?)(?<!\.)", r"<sup>\1</sup>", marked)
    marked = re.sub(r"\b([a-z])_inf\b", r"\1<sub>∞</sub>", marked)
    marked = re.sub(r"(?<=<sup>).*?(?=</sup>)", lambda found: found[0].replace("-", "−"), marked)
    marked = re.sub(r"(?<![\w.&#;)-])-(?=[\d.∞])", "−", marked)
    marked = re.sub(r"(?<=\d)\.\.(?=\d)", "–", marked)
    for plain, sign in (("&gt;=", "≥"), ("&lt;=", "≤"), (" inf ", " ∞ ")):
        marked = marked.replace(plain, sign)
    return Markup(marked)


def duration(seconds: float) -> str:
    """Seconds as '0.8 s', '42 s', '3 min 20 s' or '5 h 12 min'."""
    if isnan(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def memory(megabytes: float) -> str:
    """MiB as '640 MiB' or '3.1 GiB'."""
    if isnan(megabytes):
        return "–"
    return f"{megabytes:.0f} MiB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GiB"


def data_uri(kind: str, content: bytes) -> str:
    """Content as an address of its own, so that the page needs no other file."""
    return f"data:{kind};charset=utf-8,{quote(content, safe=_SAFE)}"


# Characters that stand for themselves in a data address; escaping more would only cost space.
_SAFE = " !$()*+,/:;=?@[]{}|"


def slim(svg: bytes) -> bytes:
    """A picture without metadata and comments and with coordinates to 1/100 point: half the size."""
    svg = re.sub(rb"(?s)<metadata>.*?</metadata>|<!--.*?-->|<!DOCTYPE.*?>", b"", svg)
    svg = re.sub(rb'(?<= )(d|x|y|transform)="[^"]*"', lambda found: _rounded(found[0]), svg)
    return re.sub(rb"\s*\n\s*", b" ", svg)


def _rounded(attribute: bytes) -> bytes:
    return re.sub(rb"(\.\d\d)\d+", rb"\1", attribute)


# ------------------------------------------------------------------------------------- claims


@dataclass(frozen=True)
class Finding:
    """One row of claims.csv as text."""

    observable: str
    statistic: str
    estimate: str
    interval: tuple[str, str] | None
    rule: str
    verdict: str
    note: str
    figure: str
    decides: bool


@dataclass(frozen=True)
class ClaimSection:
    """One claim with its findings; ``figures`` are those its findings rest on."""

    id: str
    name: str
    statement: str
    verdict: str
    findings: tuple[Finding, ...]
    order: int

    @property
    def anchor(self) -> str:
        return re.sub(r"[^A-Za-z0-9-]+", "-", f"claim-{self.id}")

    @property
    def deciding(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.decides]

    @property
    def others(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.decides]

    @property
    def headline(self) -> Finding | None:
        """The deciding finding that made the verdict what it is."""
        agreeing = [finding for finding in self.deciding if finding.verdict == self.verdict]
        return next(iter([*agreeing, *self.deciding, *self.findings]), None)

    @property
    def verdict_order(self) -> int:
        return VERDICTS.index(self.verdict)


def read_claims(path: str | Path) -> list[ClaimSection]:
    """Claims in the order of claims.csv. Raises ReportError naming a missing column or odd verdict."""
    text = [name for name in CLAIM_COLUMNS if name not in ("estimate", "ci_low", "ci_high")]
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ReportError(f"{path}: not a readable table of claims ({error})") from error
    missing = [name for name in CLAIM_COLUMNS if name not in table]
    if missing:
        raise ReportError(f"{path}: columns {', '.join(missing)} are missing")
    odd = sorted(set(table["verdict"]) - set(VERDICTS))
    if odd:
        raise ReportError(f"{path}: verdict {odd[0]!r} is not one of {', '.join(VERDICTS)}")
    for name in ("estimate", "ci_low", "ci_high"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table["decides"] = table["decides"].str.lower() == "true"
    groups = table.groupby("id", sort=False)
    return [_claim(rows, order) for order, (_, rows) in enumerate(groups)]


def _claim(rows: pd.DataFrame, order: int) -> ClaimSection:
    first = rows.iloc[0]
    findings = tuple(_finding(row) for _, row in rows.iterrows())
    return ClaimSection(
        first["id"], first["name"], first["statement"], overall(rows), findings, order
    )


def _finding(row: pd.Series) -> Finding:
    low, high = number(row["ci_low"]), number(row["ci_high"])
    return Finding(
        row["observable"],
        row["statistic"],
        number(row["estimate"]),
        (low, high) if low and high else None,
        row["rule"],
        row["verdict"],
        row["note"],
        row["figure"],
        row["decides"],
    )


# ------------------------------------------------------------------------------------ figures


@dataclass(frozen=True)
class FigureLine:
    """One line of a figure in numbers: the text alternative of the picture."""

    quantity: str
    series: str
    over: str
    values: str


@dataclass(frozen=True)
class FigureBlock:
    """A figure with the table behind it, both as data addresses; ``home``: the claim that shows it."""

    name: str
    number: int
    title: str
    home: str
    folder: str
    caption: tuple[str, ...]
    picture: str
    size: tuple[int, int]
    table: str
    rows: int
    all_lines: list[FigureLine] = field(repr=False)

    @property
    def lines(self) -> list[FigureLine]:
        return self.all_lines[:MOST_LINES]

    @property
    def lines_left_out(self) -> int:
        return max(0, len(self.all_lines) - MOST_LINES)

    @property
    def alternative(self) -> str:
        """Text in place of the picture, for those who cannot see it."""
        told = "; ".join(f"{ln.quantity}, {ln.series}: {ln.values}" for ln in self.lines[:6])
        end = "" if self.title.endswith("?") else "."
        return f"{self.title}{end} {told}. All lines follow in the table 'in numbers'."


def read_figure(
    name: str, folder: str | Path, number: int, home: str, caption: str = ""
) -> FigureBlock:
    """A drawn figure. Raises ReportError naming the file if picture or table is missing."""
    folder = Path(folder)
    try:
        svg = (folder / f"{name}.svg").read_bytes()
        csv = (folder / f"{name}.csv").read_bytes()
        evidence = pd.read_csv(StringIO(csv.decode()))
    except (OSError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ReportError(f"figure {name} cannot be read: {error}") from error
    return FigureBlock(
        name=name,
        number=number,
        title=FIGURES[name].title if name in FIGURES else name,
        home=home,
        folder=folder.as_posix(),
        caption=tuple(_paragraphs(caption)),
        picture=data_uri("image/svg+xml", slim(svg)),
        size=_svg_size(svg),
        table=data_uri("text/csv", csv),
        rows=len(evidence),
        all_lines=summarise(evidence),
    )


def _paragraphs(text: str) -> list[str]:
    blocks = re.split(r"\n\s*\n", text.strip())
    return [" ".join(block.split()) for block in blocks if block.strip()]


def _svg_size(svg: bytes) -> tuple[int, int]:
    """Width and height from the viewBox, so that the page does not jump while it loads."""
    found = re.search(rb'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    return (round(float(found[1])), round(float(found[2]))) if found else (1000, 600)


SIZES = ("width", "depth", "learning_rate", "step")


def summarise(evidence: pd.DataFrame) -> list[FigureLine]:
    """Every line of a figure in one row: what, over which sizes, from which value to which.

    ``a → b`` are the values at the smallest and the largest size where a single size varies; ``a … b``
    the least and the largest where several do. A single number comes with its interval.
    """
    measured = evidence[evidence["estimate"].notna()]
    drawn_curve = (measured["source"] == "fit") & measured[list(SIZES)].notna().any(axis=1)
    drawn_curve &= measured["ci_low"].isna()
    keys = ["quantity", "series", "source", "optimizer"]
    groups = measured[~drawn_curve].fillna(dict.fromkeys(keys, "")).groupby(keys, sort=False)
    return [_line(*key, rows) for key, rows in groups]


def _line(
    quantity: str, series: str, source: str, optimizer: str, rows: pd.DataFrame
) -> FigureLine:
    varying = [size for size in SIZES if rows[size].nunique() > 1]
    over = ", ".join(_span(size, rows[size]) for size in SIZES if rows[size].notna().any())
    if len(rows) == 1:
        row = rows.iloc[0]
        values = number(row["estimate"])
        if pd.notna(row["ci_low"]) and pd.notna(row["ci_high"]):
            values += f" [{number(row['ci_low'])}, {number(row['ci_high'])}]"
    elif len(varying) == 1:
        ordered = rows.sort_values(varying[0])["estimate"]
        values = f"{number(ordered.iloc[0])} → {number(ordered.iloc[-1])}"
    else:
        values = f"{number(rows['estimate'].min())} … {number(rows['estimate'].max())}"
    kind = {"limit": "limit", "closed_form": "exact"}.get(source, "")
    label = ", ".join(part for part in (series, kind, optimizer) if part)
    return FigureLine(quantity.replace("_", " "), label, over, values)


def _span(size: str, values: pd.Series) -> str:
    low, high = values.min(), values.max()
    name = size.replace("_", " ")
    return f"{name} {low:g}" if low == high else f"{name} {low:g}–{high:g}"


# ----------------------------------------------------------------------- provenance and cost


@dataclass(frozen=True)
class Fact:
    """A property of the tables: each value with the number of tables that have it."""

    name: str
    values: list[tuple[str, int]]


def gather_provenance(paths: Iterable[str | Path]) -> tuple[list[Fact], int, float]:
    """(facts, number of tables, their wall time in seconds) of the tables of runs at ``paths``."""
    stored = [read_provenance(path) for path in paths]
    facts = []
    for key, name in PROVENANCE_NAMES.items():
        counts = Counter(table.get(key, "unknown") for table in stored)
        facts.append(Fact(name, counts.most_common()))
    return facts, len(stored), sum(float(table.get("wall_time_s", 0)) for table in stored)


def provenance_warnings(facts: Sequence[Fact]) -> list[str]:
    """Sentences on what a careful reader should know about the tables."""
    values = {fact.name: [value for value, _ in fact.values] for fact in facts}
    found = []
    versions = values.get("Code version", [])
    if len(versions) > 1:
        found.append(
            f"The tables come from {len(versions)} versions of the code. Snakemake reruns a job when a "
            "source file it depends on changes, so the versions agree in what these jobs use."
        )
    if any(version.endswith("-dirty") for version in versions):
        found.append(
            "A version that ends in '-dirty' had changes that were not committed when the table was made."
        )
    if len(values.get("Device", [])) > 1:
        found.append("The tables were made on several devices, whose last digits differ.")
    return found


@dataclass(frozen=True)
class Cost:
    """What a rule cost, over all its jobs: wall and CPU time in seconds, memory in MiB."""

    rule: str
    what: str
    jobs: int
    wall_s: float
    longest_s: float
    cpu_s: float
    peak_mb: float


# Folder or file under benchmarks/ -> (rule, whether its subfolders are experiments).
RULES: Mapping[str, str] = {
    "prepare_data": "prepare_data",
    "runs": "train_networks",
    "limits": "simulate_limit",
    "evidence": "gather_evidence",
    "claims": "judge_claims",
    "figures": "draw_figure",
}


def read_costs(folder: str | Path, jobs: Iterable[tuple[str, str]] | None = None) -> list[Cost]:
    """Cost per rule, and per experiment for runs and limits, from Snakemake's benchmark files.

    ``jobs``, pairs (experiment, name), restricts runs and limits to those of a configuration; files of
    earlier configurations may lie beside them.
    """
    folder = Path(folder)
    wanted = None if jobs is None else set(jobs)
    groups: dict[tuple[str, str], list[pd.Series]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        parts = path.relative_to(folder).with_suffix("").parts
        experiment = parts[1] if len(parts) == 3 else ""
        if parts[0] not in RULES or (
            experiment and wanted is not None and (experiment, parts[2]) not in wanted
        ):
            continue
        groups.setdefault((RULES[parts[0]], experiment), []).append(_benchmark(path))
    order = {rule: place for place, rule in enumerate(RULES.values())}
    return [
        _cost(*key, pd.DataFrame(rows))
        for key, rows in sorted(groups.items(), key=lambda item: (order[item[0][0]], item[0][1]))
    ]


def _benchmark(path: Path) -> pd.Series:
    """The last measurement of a job; Snakemake writes '-' or NA for what it could not measure."""
    try:
        row = pd.read_csv(path, sep="\t", dtype=str).iloc[-1]
    except (pd.errors.ParserError, pd.errors.EmptyDataError, IndexError) as error:
        raise ReportError(f"{path}: not a benchmark file of Snakemake ({error})") from error
    return pd.to_numeric(row.reindex(["s", "cpu_time", "max_rss"]), errors="coerce")


def _cost(rule: str, what: str, rows: pd.DataFrame) -> Cost:
    wall, cpu, peak = rows["s"], rows["cpu_time"], rows["max_rss"]
    return Cost(rule, what, len(rows), wall.sum(), wall.max(), cpu.sum(), peak.max())


# ------------------------------------------------------------------------------ the page


def parametrization_rows(names: Iterable[str]) -> list[dict[str, Any]]:
    """The table of exponents, from :meth:`nfd.parametrization.Parametrization.describe`."""
    return [_parametrization_row(PARAMETRIZATIONS[name]) for name in names]


def _parametrization_row(row: Parametrization) -> dict[str, Any]:
    described = row.describe()
    roles = []
    for role, cell in described.items():
        if role != "branch":
            multiplier, sgd, adam = cell.split(" | ")
            roles.append(
                {"name": ROLE_NAMES[role], "multiplier": multiplier, "sgd": sgd, "adam": adam}
            )
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
) -> dict[str, Any]:
    """All that the page shows, for :func:`render`.

    ``config`` is checked (:func:`nfd.pipeline.config.check`); ``results`` and ``figures`` are the preset's
    folders. Of the tables in ``results`` only those of the configuration's jobs are read.
    """
    results = Path(results)
    training, limits = expand(config)
    jobs = [(results / "runs", job) for job in training] + [(results / "limits", j) for j in limits]
    tables = [folder / job.experiment / f"{job.name}.parquet" for folder, job in jobs]
    facts, count, wall_time = gather_provenance(tables)
    costs = read_costs(results / "benchmarks", [(job.experiment, job.name) for _, job in jobs])
    sections = read_claims(claims)
    blocks = _figure_blocks(sections, drawn_figures(config), Path(figures), captions)
    networks = sum(job.members for job in training)
    simulations = sum(job.settings.simulations for job in limits)
    digest = config_digest(config)
    dataset = next(fact for fact in facts if fact.name == "Data set").values
    return {
        "preset": config["preset"],
        "dataset": config["dataset"].get("label") or _first(dataset, config["dataset"]["name"]),
        "digest": digest,
        "claims": sections,
        "figures": blocks,
        "provenance": [
            Fact("Configuration", [(f"preset {config['preset']}, digest {digest}", count)]),
            Fact("This page", [(f"code version {code_version()}", count)]),
            *facts,
            Fact("Tables", [(f"{count}, made in {duration(wall_time)} of wall time", count)]),
        ],
        "table_count": count,
        "warnings": provenance_warnings(facts),
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


def _first(values: Sequence[tuple[str, int]], fallback: str) -> str:
    return values[0][0] if values else fallback


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as built-in types, which is what YAML can write."""
    return json.loads(json.dumps(config))


def drawn_figures(config: Mapping[str, Any]) -> list[str]:
    """Figures whose experiments are all switched on."""
    switched_on = set(config["experiments"])
    return [name for name, figure in FIGURES.items() if set(figure.experiments) <= switched_on]


def _figure_blocks(
    sections: Sequence[ClaimSection],
    drawn: Sequence[str],
    folder: Path,
    captions: str | Path | None,
) -> list[FigureBlock]:
    """Every drawn figure, in the order of the claims where they are at home; then those of no claim."""
    homes = {name: _home(name, sections) for name in drawn}
    ids = [*(section.id for section in sections), ""]
    ordered = sorted(drawn, key=lambda name: ids.index(homes[name]))
    return [
        read_figure(name, folder, place, homes[name], _caption(name, captions))
        for place, name in enumerate(ordered, start=1)
    ]


def _home(name: str, sections: Sequence[ClaimSection]) -> str:
    """The claim that shows a figure: the first it is catalogued for, or that uses it; else none."""
    users = [s.id for s in sections if any(finding.figure == name for finding in s.findings)]
    return next((claim for claim in (*FIGURES[name].claims, *users) if claim in users), "")


def _caption(name: str, captions: str | Path | None) -> str:
    path = Path(captions) / f"{name}.rst" if captions else None
    return path.read_text() if path and path.exists() else ""


def render(content: Mapping[str, Any]) -> str:
    """The page as one HTML text, from what :func:`collect` returns."""
    environment = Environment(
        loader=PackageLoader("nfd"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(typeset=typeset, duration=duration, memory=memory)
    style, script = (
        environment.loader.get_source(environment, f"report.{kind}")[0] for kind in ("css", "js")
    )
    claims: Sequence[ClaimSection] = content["claims"]
    counts = Counter(claim.verdict for claim in claims)
    costs: Sequence[Cost] = content["costs"]
    return environment.get_template("report.html.j2").render(
        **{key: value for key, value in content.items() if key not in ("claims", "figures")},
        claims=[_with_figures(claim, content["figures"]) for claim in claims],
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
        style_hash=_hash(style),
        script_hash=_hash(script),
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


def _hash(text: str) -> str:
    """Hash by which the page's security policy knows its own style and script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
