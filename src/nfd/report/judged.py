"""The page of tables that another code wrote: their figures are drawn and shown beside the verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

import nfd.claims
from nfd.claims.registry import function
from nfd.drawing.page import Context, draw, save_as
from nfd.files import write_text
from nfd.report.page import collect_tables, render

TITLE = "tables of another code"


def write_page(
    path: str | Path,
    frames: Mapping[str, pd.DataFrame],
    claims: str | Path,
    tables: Sequence[str | Path],
    parametrizations: Iterable[str],
    dataset: str,
) -> None:
    """Write the page of verdicts and figures to ``path``, .html.

    ``frames``: figure -> evidence; those without a row are left out. ``claims`` is the table of verdicts,
    ``tables`` the files judged, ``parametrizations`` those in them, ``dataset`` its name as printed.
    """
    with TemporaryDirectory() as folder:
        for name, evidence in frames.items():
            if len(evidence):
                context = Context(dataset, TITLE, "none")
                figure = draw(function("figure", name), evidence, context)
                save_as(figure, Path(folder, f"{name}.svg"))
                evidence.to_csv(Path(folder, f"{name}.csv"), index=False, float_format="%.8g")
        content = collect_tables(
            parametrizations,
            tables,
            title=TITLE,
            dataset=dataset,
            claims=claims,
            figures=folder,
            captions=Path(nfd.claims.__file__).parent,
        )
        write_text(path, render(content))
