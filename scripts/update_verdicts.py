"""Write the verdict tables of README.md and docs/claims.md from the records under figures/."""

import sys
from collections.abc import Sequence
from pathlib import Path

from nfd.pipeline.tables import write_text
from nfd.verdicts import between_markers, claims_appendix, verdict_table

# Presets whose record is in git: title of the column -> folder.
PRESETS = {"digits": "figures/laptop", "CIFAR-10 (JPEG)": "figures/cifar10_cpu"}


def updated() -> dict[Path, str]:
    """The texts as they should be."""
    present = {title: at for title, at in PRESETS.items() if Path(at, "claims.csv").exists()}
    tables = {
        Path("README.md"): verdict_table(present),
        Path("docs/claims.md"): claims_appendix(present),
    }
    return {path: between_markers(path.read_text(), table) for path, table in tables.items()}


def main(argv: Sequence[str] | None = None) -> int:
    for path, text in updated().items():
        write_text(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
