"""Prepare a data set: read or download it, and write the one file that every training job reads."""

import argparse
import json
import sys
from collections.abc import Sequence

from nfd.datasets import DataError, prepare, save
from nfd.pipeline.script import run_script


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="the config's dataset section, as JSON")
    parser.add_argument("--output", required=True, help="the prepared file, .npz")
    arguments = parser.parse_args(argv)
    try:
        data = prepare(_settings(arguments.settings))
        save(data, arguments.output)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"{data.label}: {len(data.train_labels)} train and {len(data.test_labels)} test images of "
        f"{'x'.join(map(str, data.image_shape))}, {len(data.classes)} classes, "
        f"sha256 {data.digest[:12]}"
    )
    return 0


def _settings(text: str) -> dict:
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"--settings is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise DataError('--settings is not a JSON object such as {"name": "digits"}')
    return settings


if __name__ == "__main__":
    run_script(main)
