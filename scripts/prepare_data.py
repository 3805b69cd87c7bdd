"""Prepare a data set: read or download it, and write the file that every job reads.

What the experiments need of it is checked at once, before anything is trained.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from nfd.data.needs import Need, shortage
from nfd.data.prepared import save, save_facts
from nfd.data.raw import DataError
from nfd.data.sources import prepare
from nfd.pipeline.script import run_script


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="the config's dataset section, as JSON")
    parser.add_argument("--needs", default="[]", help="JSON list of [key, split, samples]")
    parser.add_argument("--later", default="[]", help="the same of a run to come, only reported")
    parser.add_argument("--output", required=True, help="the prepared file, .npz")
    parser.add_argument("--facts", help="its sizes and digests, .json")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        needs, later = _needs("--needs", arguments.needs), _needs("--later", arguments.later)
        data = prepare(_read("--settings", arguments.settings, dict))
        lacking = shortage(needs, data.sizes, data.name)
        if lacking:
            raise DataError(lacking)
        save(data, arguments.output)
        if arguments.facts:
            save_facts(data, arguments.facts)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"{data.name}: {data.sizes['train']} train and {data.sizes['test']} test samples of "
        f"{'x'.join(map(str, data.sample_shape))}, {len(data.classes)} classes, "
        f"sha256 {data.digest[:12]}"
    )
    if data.skipped:
        print(f"not read: {data.skipped}", file=sys.stderr)
    lacking = shortage(later, data.sizes, data.name)
    if lacking:
        print(f"this trial works, but the run in earnest would not: {lacking}", file=sys.stderr)
    return 0


def _needs(option: str, text: str) -> list[Need]:
    return [Need(*need) for need in _read(option, text, list)]


def _read(option: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{option} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise DataError(f"{option} is not a JSON {'object' if kind is dict else 'list'}")
    return value


if __name__ == "__main__":
    run_script(main)
