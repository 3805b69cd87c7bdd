"""Two runs side by side: does the second find what the first found?

A run is a folder with ``claims.csv``, the evidence tables and ``provenance.json``: a record
(``figures/record/laptop``) or what a run leaves (``figures/laptop``).

**The z-score** of an observable says how far apart two estimates are for two *independent* runs of normal
noise. Half a 95 % interval is t(n - 1) standard errors, n being the number of seeds; the difference over the
root of the summed squares is Student's t with Welch's degrees of freedom, and z is the normal quantile of
the same probability. So |z| > 2 happens in 4.6 % of all comparisons of runs that measure the same thing
(4.0 % with five seeds, where Welch's formula is a little too careful). Dividing the difference by half
widths / 1.96 instead gives 2.1 % with five seeds.

What the number of seeds does not tell: an interval over two independent groups of seeds (networks and
limit) has more than n - 1 degrees of freedom, and the error of rounding a learning rate to its grid is known.
With five seeds such z-scores are somewhat too large: 5 to 6 % of the former lie beyond 2, and of the
latter, if rounding is all there is, 9.6 %. Two runs with one root seed share their random numbers: then fewer
do.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from nfd.claims.registry import FIGURES
from nfd.claims.rules import overall
from nfd.evidence.intervals import LEVEL
from nfd.evidence.table import COLUMNS
from nfd.report import ReportError
from nfd.report.findings import read_findings
from nfd.report.record import CLAIMS_TABLE, read_description
from nfd.report.text import number

# |z| beyond which a difference is worth a look, and how often chance alone goes beyond it.
NOTABLE = 2.0
EXPECTED_SHARE = 2 * norm.sf(NOTABLE)

# How many keys of the configuration the summary names.
MOST_KEYS = 6
# Digits of a digest that are shown, as everywhere in the project.
DIGEST = 12

# What makes an observable, or a row of evidence, the same one in two runs.
OBSERVABLE = ("id", "figure", "observable")
POINT = tuple(name for name in COLUMNS if name not in ("estimate", "ci_low", "ci_high", "seeds"))
MEASURED = ("estimate", "ci_low", "ci_high", "seeds")


@dataclass(frozen=True)
class Run:
    """What a run found and what made it; ``evidence`` by figure, ``made_with``: fact -> value -> tables."""

    name: str
    findings: pd.DataFrame
    evidence: Mapping[str, pd.DataFrame]
    config: Mapping[str, Any]
    made_with: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Difference:
    """A key of the configuration, or a fact about code and machine, that two runs do not share."""

    key: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """Two runs, set side by side.

    ``observables`` has one row per finding of either run: OBSERVABLE, ``name``, ``statistic``, ``decides``,
    then MEASURED and ``verdict`` of each run with the suffixes _1 and _2, ``z`` (NaN where there is none) and
    ``found`` ('both', 'first only', 'second only'). ``claims`` has id, name and both verdicts, empty where a
    run lacks the claim. ``evidence`` has a row per figure: how many points both have, how many of them are
    equal, how many one has alone, the largest |z| and the share beyond NOTABLE (points of a figure are not
    independent). ``settings`` and ``circumstances`` are what differs. With ``shared_seeds`` both runs drew
    the same random numbers on the same data.
    """

    first: str
    second: str
    observables: pd.DataFrame
    claims: pd.DataFrame
    evidence: pd.DataFrame
    settings: tuple[Difference, ...]
    circumstances: tuple[Difference, ...]
    shared_seeds: bool

    @property
    def same(self) -> int:
        """How many claims have the same verdict in both runs."""
        return int((self.claims["verdict_1"] == self.claims["verdict_2"]).sum())

    @property
    def largest(self) -> pd.Series | None:
        """The observable with the largest |z| that is not 0; None if no estimate differs."""
        distance = self.observables["z"].abs()
        return self.observables.loc[distance.idxmax()] if (distance > 0).any() else None


def read_run(folder: str | Path) -> Run:
    """Read a run's folder. Raises ReportError naming the file that is missing or odd."""
    folder = Path(folder)
    described = read_description(folder)
    return Run(
        folder.as_posix(),
        read_findings(folder / CLAIMS_TABLE),
        {name: _evidence(folder / f"{name}.csv") for name in FIGURES if _has(folder, name)},
        described["config"],
        described["made_with"],
    )


def _has(folder: Path, figure: str) -> bool:
    return (folder / f"{figure}.csv").exists()


def _evidence(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, encoding="utf-8")
    except (OSError, ValueError) as error:  # pandas' errors of reading are ValueErrors
        raise ReportError(f"{path}: not a readable table of evidence ({error})") from error
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ReportError(f"{path}: columns {', '.join(missing)} are missing")
    return table


def compare(first: Run, second: Run) -> Comparison:
    """Everything in which two runs agree or differ. Raises ReportError if a table lists something twice."""
    observables = _observables(first, second)
    return Comparison(
        first.name,
        second.name,
        observables,
        _claims(first, second),
        _compare_evidence(first, second),
        tuple(_config_differences(first.config, second.config)),
        tuple(_made_differences(first.made_with, second.made_with)),
        _shared_seeds(first, second),
    )


def _shared_seeds(first: Run, second: Run) -> bool:
    a, b = (
        (run.config.get("root_seed"), run.made_with.get("Data digest")) for run in (first, second)
    )
    return a == b


# ----------------------------------------------------------------------------------- estimates


def z_scores(first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
    """z of the difference second - first, row by row, from the columns MEASURED.

    0 where the estimates are equal, whatever their intervals; else NaN where an estimate or an interval is
    missing. Two different estimates without any width are infinitely far apart.
    """
    a, b = (np.asarray(frame["estimate"], float) for frame in (first, second))
    (error_a, df_a), (error_b, df_b) = _standard_error(first), _standard_error(second)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = error_a**2 + error_b**2
        distance = (b - a) / np.sqrt(variance)
        df = variance**2 / (error_a**4 / df_a + error_b**4 / df_b)
        # From the upper tail, which keeps its digits where the distribution function is 1.
        z = np.sign(distance) * norm.isf(student.sf(np.abs(distance), df))
        z = np.where(variance == 0, np.sign(b - a) * np.inf, z)
    return np.where(a == b, 0.0, z)


def _standard_error(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors and degrees of freedom behind the intervals of :mod:`nfd.evidence.intervals`."""
    low, high, seeds = (np.asarray(frame[c], float) for c in ("ci_low", "ci_high", "seeds"))
    df = np.where(seeds > 1, seeds - 1, np.nan)
    return (high - low) / 2 / student.ppf(0.5 + LEVEL / 2, df), df


def _joined(
    first: pd.DataFrame, second: pd.DataFrame, keys: Sequence[str], names: tuple[str, str]
) -> pd.DataFrame:
    """Both tables side by side, rows of the first in their order, with ``z`` and ``found``."""
    for frame, name in zip((first, second), names, strict=True):
        repeated = frame[frame.duplicated(list(keys))]
        if len(repeated):
            what = ", ".join(str(value) for value in repeated.iloc[0][list(keys)].dropna())
            raise ReportError(f"{name}: lists {what} twice")
    numbered = [frame.assign(place=range(len(frame))) for frame in (first, second)]
    joined = numbered[0].merge(
        numbered[1], on=list(keys), how="outer", suffixes=("_1", "_2"), indicator="found"
    )
    joined = joined.sort_values(["place_1", "place_2"], ignore_index=True)
    sides = [joined[[f"{name}{end}" for name in MEASURED]] for end in ("_1", "_2")]
    joined["z"] = z_scores(*(side.set_axis(list(MEASURED), axis=1) for side in sides))
    places = {"both": "both", "left_only": "first only", "right_only": "second only"}
    joined["found"] = joined["found"].astype(str).map(places)
    return joined


def _observables(first: Run, second: Run) -> pd.DataFrame:
    shared = ["name", "statistic", "decides"]
    columns = [*OBSERVABLE, *shared, *MEASURED, "verdict"]
    names = (first.name, second.name)
    joined = _joined(first.findings[columns], second.findings[columns], OBSERVABLE, names)
    for name in shared:
        joined[name] = joined[f"{name}_2"].where(joined[f"{name}_1"].isna(), joined[f"{name}_1"])
    # As the claims are numbered by the runs, the second's own findings behind those in common.
    order = {claim: place for place, claim in enumerate(_identities(first, second))}
    joined = joined.sort_values("id", key=lambda ids: ids.map(order), kind="stable")
    measured = [f"{name}{end}" for end in ("_1", "_2") for name in (*MEASURED, "verdict")]
    return joined[[*OBSERVABLE, *shared, *measured, "z", "found"]].reset_index(drop=True)


def _identities(*runs: Run) -> list[str]:
    return list(dict.fromkeys(claim for run in runs for claim in run.findings["id"]))


def _claims(first: Run, second: Run) -> pd.DataFrame:
    names = {
        row.id: row.name for run in (second, first) for row in run.findings.itertuples(index=False)
    }
    rows = []
    for claim in _identities(first, second):
        verdicts = [_verdict(run.findings[run.findings["id"] == claim]) for run in (first, second)]
        rows.append((claim, names[claim], *verdicts))
    return pd.DataFrame(rows, columns=["id", "name", "verdict_1", "verdict_2"])


def _verdict(findings: pd.DataFrame) -> str:
    return overall(findings) if len(findings) else ""


def _compare_evidence(first: Run, second: Run) -> pd.DataFrame:
    rows = []
    nothing = pd.DataFrame(columns=list(COLUMNS), dtype=object)
    for figure in FIGURES:
        if figure in first.evidence or figure in second.evidence:
            one, other = (_as_text(run.evidence.get(figure, nothing)) for run in (first, second))
            names = (f"{first.name}/{figure}.csv", f"{second.name}/{figure}.csv")
            rows.append((figure, *_points(_joined(one, other, POINT, names))))
    columns = ["figure", "both", "equal", "first_only", "second_only", "largest_z", "share_notable"]
    return pd.DataFrame(rows, columns=columns)


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Keys as text, so that a column that is empty in one table can be joined with the other's."""
    return table.assign(**{name: table[name].astype(str) for name in POINT})


def _points(joined: pd.DataFrame) -> tuple[int, int, int, int, float, float]:
    both = joined[joined["found"] == "both"]
    equal = (both["estimate_1"] == both["estimate_2"]) | (
        both["estimate_1"].isna() & both["estimate_2"].isna()
    )
    z = both["z"].dropna().abs()
    share = (z > NOTABLE).mean() if len(z) else np.nan
    first, second = (int((joined["found"] == side).sum()) for side in ("first only", "second only"))
    return len(both), int(equal.sum()), first, second, z.max() if len(z) else np.nan, share


# ------------------------------------------------------------------------------ what differs


def _config_differences(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[Difference]:
    a, b = dict(_flat("", first)), dict(_flat("", second))
    for key in dict.fromkeys([*a, *b]):
        if a.get(key, "absent") != b.get(key, "absent"):
            yield Difference(key, a.get(key, "absent"), b.get(key, "absent"))


def _flat(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Dotted keys with their values as JSON; a list is one value."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _flat(f"{where}.{key}" if where else key, value[key])
    else:
        yield where, json.dumps(value, ensure_ascii=False)


def _made_differences(
    first: Mapping[str, Mapping[str, int]], second: Mapping[str, Mapping[str, int]]
) -> Iterator[Difference]:
    for fact in dict.fromkeys([*first, *second]):
        a, b = (sorted(made.get(fact, {"unknown": 0})) for made in (first, second))
        if a != b:
            yield Difference(fact, *(", ".join(map(_short, side)) for side in (a, b)))


def _short(value: str) -> str:
    """The value; of a digest its first digits."""
    return value[:DIGEST] if re.fullmatch("[0-9a-f]{64}", value) else value


# -------------------------------------------------------------------------------- in words


def measured(row: Mapping[str, Any], side: int) -> str:
    """Estimate and interval of one side of a row of observables, 'not measured' or 'absent'."""
    if row["found"] == ("second only" if side == 1 else "first only"):
        return "absent"
    estimate, low, high = (number(row[f"{name}_{side}"]) for name in MEASURED[:3])
    if not estimate:
        return "not measured"
    return f"{estimate} [{low}, {high}]" if low and high else estimate


def summary(comparison: Comparison, same: str = "the same") -> list[str]:
    """The comparison in sentences: verdicts, the largest difference, how many are notable, what differs.

    ``same`` is what a verdict is that both runs give: 'the same', or 'as recorded'.
    """
    return [
        f"{_verdict_sentence(comparison, same)}; {_largest_sentence(comparison)}.",
        *_share_sentences(comparison),
        *_missing_sentences(comparison),
        *_cause_sentences(comparison),
    ]


def _verdict_sentence(comparison: Comparison, same: str) -> str:
    claims = comparison.claims
    changed = claims[claims["verdict_1"] != claims["verdict_2"]]
    changes = [
        f"{row.id} {row.verdict_1 or 'not judged'} → {row.verdict_2 or 'not judged'}"
        for row in changed.itertuples(index=False)
    ]
    told = f"{comparison.same} of {len(claims)} verdicts {same}"
    return f"{told} ({', '.join(changes)})" if changes else told


def _largest_sentence(comparison: Comparison) -> str:
    row = comparison.largest
    if row is None:
        both = comparison.observables[comparison.observables["found"] == "both"]
        known = both[["estimate_1", "estimate_2"]].dropna(how="all")
        differ = (known["estimate_1"] != known["estimate_2"]).any()
        return f"no estimate {'with an interval ' if differ else ''}differs"
    where = f"{row['id']}, {row['observable']}"
    values = f"{measured(row, 1)} and {measured(row, 2)}"
    return f"the largest difference is z = {score(row['z'])} ({where}: {values})"


def _share_sentences(comparison: Comparison) -> list[str]:
    z = comparison.observables["z"].dropna().abs()
    if not (z > 0).any():
        return []
    told = (
        f"{(z > NOTABLE).sum()} of {len(z)} z-scores lie beyond ±{NOTABLE:g}; chance alone puts "
        f"{EXPECTED_SHARE:.1%} of those of independent runs there, about {EXPECTED_SHARE * len(z):.0f}."
    )
    if comparison.shared_seeds:
        told += " Runs with one root seed share their random numbers, so fewer are expected here."
    return [told]


def _missing_sentences(comparison: Comparison) -> list[str]:
    found = comparison.observables["found"]
    sides = (("first only", comparison.first), ("second only", comparison.second))
    return [
        f"{count} of {len(found)} observables are in {name} only."
        for side, name in sides
        if (count := int((found == side).sum()))
    ]


def _cause_sentences(comparison: Comparison) -> list[str]:
    told = []
    if comparison.settings:
        # The outermost keys say most; all of them are in the full comparison.
        keys = sorted((d.key for d in comparison.settings), key=lambda key: key.count("."))
        more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
        told.append(f"Settings that differ: {', '.join(keys[:MOST_KEYS])}{more}.")
    if comparison.circumstances:
        facts = "; ".join(f"{d.key} {d.first} → {d.second}" for d in comparison.circumstances)
        told.append(f"Made with: {facts}.")
    return told


def score(z: float) -> str:
    """A z-score with one digit after the point, signed; empty where there is none."""
    if np.isnan(z):
        return ""
    if np.isinf(z):
        return number(z)
    text = f"{z:.1f}"
    return "0" if z == 0 else text.replace("-", "−")


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Every observable in words: what it is, both values with intervals, z, and both verdicts."""
    kept = ("id", "observable", "statistic", "figure", "decides", "verdict_1", "verdict_2")
    return [
        {
            **{name: row[name] for name in kept},
            "first": measured(row, 1),
            "second": measured(row, 2),
            "z": score(row["z"]),
            "notable": bool(abs(row["z"]) > NOTABLE),
        }
        for row in comparison.observables.fillna({"verdict_1": "", "verdict_2": ""}).to_dict(
            "records"
        )
    ]


def lines(comparison: Comparison) -> Iterator[str]:
    """The whole comparison as text: every claim with its observables, the evidence, and what differs."""
    described = rows(comparison)
    yield f"1: {comparison.first}"
    yield f"2: {comparison.second}"
    for claim in comparison.claims.itertuples(index=False):
        yield ""
        yield f"{claim.id} {claim.name}: {_both(claim.verdict_1, claim.verdict_2)}"
        yield from (_observable_line(row) for row in described if row["id"] == claim.id)
    yield ""
    for row in comparison.evidence.itertuples(index=False):
        yield _evidence_line(row)
    for name, differences in (
        ("Settings", comparison.settings),
        ("Made with", comparison.circumstances),
    ):
        yield ""
        yield f"{name}: {'nothing differs' if not differences else 'what differs'}"
        yield from (f"  {d.key}: {d.first} → {d.second}" for d in differences)
    yield ""


def _both(first: str, second: str) -> str:
    first, second = first or "not judged", second or "not judged"
    return first if first == second else f"{first} → {second}"


def _observable_line(row: Mapping[str, Any]) -> str:
    star = "*" if row["decides"] else " "
    distance = f"z = {row['z']}" if row["z"] else "no z"
    verdicts = _both(row["verdict_1"], row["verdict_2"])
    where = f"{row['observable']} ({row['figure']})"
    return f" {star} {where}: {row['first']} | {row['second']} | {distance} | {verdicts}"


def _evidence_line(row: Any) -> str:
    told = f"Evidence of {row.figure}: {row.equal} of {row.both} common points equal"
    if row.largest_z > 0:
        told += f", largest |z| {score(row.largest_z)}, {row.share_notable:.1%} beyond {NOTABLE:g}"
    for count, which in ((row.first_only, "1"), (row.second_only, "2")):
        told += f", {count} in {which} only" if count else ""
    return told
