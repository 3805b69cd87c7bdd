"""The figures of a report: pictures and tables as data addresses, and every line of them in numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from nfd.claims.registry import FIGURES, claims_of
from nfd.report import ReportError
from nfd.report.findings import ClaimSection
from nfd.report.text import number

# Rows of the 'in numbers' table of a figure; the rest is in its csv.
MOST_LINES = 60


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
        evidence = pd.read_csv(StringIO(csv.decode("utf-8")))
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
    return [
        _line(quantity, series, source, optimizer, rows)
        for (quantity, series, source, optimizer), rows in groups
    ]


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


# ------------------------------------------------------------------------------ which, and where


def drawn_figures(config: Mapping[str, Any]) -> list[str]:
    """Figures whose experiments are all switched on."""
    switched_on = set(config["experiments"])
    return [name for name, figure in FIGURES.items() if set(figure.experiments) <= switched_on]


def figure_blocks(
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
    return next((claim for claim in (*claims_of(name), *users) if claim in users), "")


def _caption(name: str, captions: str | Path | None) -> str:
    path = next(Path(captions).rglob(f"{name}.rst"), None) if captions else None
    return path.read_text(encoding="utf-8") if path else ""


# ------------------------------------------------------------------------------ inside the page


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
