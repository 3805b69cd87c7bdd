"""Configuration files, read strictly: what YAML would take in silence and a person did not mean is refused.

Snakemake reads the same files by itself, and more leniently; where :func:`read` accepts a file, both read the
same values.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from nfd.pipeline.config import ConfigError

NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def load(paths: Sequence[str | Path]) -> dict[str, Any]:
    """The files laid over one another as Snakemake does it: sections merge, all else is replaced."""
    config: dict[str, Any] = {}
    for path in paths:
        config = lay_over(config, read(path))
    return config


def lay_over(base: Any, over: Mapping[str, Any]) -> Any:
    """``base`` with the settings of ``over`` replaced or added, section by section."""
    if not over:
        return base
    laid = dict(base) if isinstance(base, Mapping) else {}
    for key, value in over.items():
        laid[key] = lay_over(laid.get(key, {}), value) if isinstance(value, Mapping) else value
    return laid


def read(path: str | Path) -> dict[str, Any]:
    """One file, YAML or JSON. Raises ConfigError in one sentence with file and line."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text; save it in that encoding") from error
    try:
        config = _parsed(text)
    except _Fault as fault:
        line = f", line {fault.line}" if fault.line else ""
        raise ConfigError(f"{path}{line}: {fault}") from fault
    if config is None:
        raise ConfigError(f"{path}: holds no settings; give at least one, such as 'preset: mine'")
    if not isinstance(config, dict):
        kind = "a list" if isinstance(config, list) else "a single value"
        raise ConfigError(f"{path}: {kind} at the top level; accepted are 'key: value' lines")
    return config


class _Fault(Exception):
    """What is wrong with a text, at the ``line`` counted from 1, where it is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_json_section)
    except ValueError:
        return _parsed_yaml(text)


def _json_section(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise _Fault(f"key {twice[0]!r} is given twice in one section; keep one")
    return dict(pairs)


def _parsed_yaml(text: str) -> Any:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None:
            for node in _nodes(root, set()):
                _check_node(node)
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise _yaml_fault(text, error) from error
    except yaml.YAMLError as error:
        raise _Fault(f"not YAML: {str(error).splitlines()[0]}") from error


def _yaml_fault(text: str, error: yaml.MarkedYAMLError) -> _Fault:
    mark = error.problem_mark
    line = mark.line + 1 if mark else None
    if error.context == "expected a single document in the stream":
        return _Fault("'---' begins a second document; keep one", line)
    if mark and text[mark.index : mark.index + 1] == "\t":
        return _Fault("a tab; indent with spaces", line)
    return _Fault(f"not YAML: {error.problem or error.context}", line)


def _nodes(node: yaml.Node, seen: set[int]) -> Iterator[yaml.Node]:
    """All nodes of a document, each once, however often an alias repeats it."""
    if id(node) in seen:
        return
    seen.add(id(node))
    yield node
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    else:
        inner = node.value if isinstance(node, yaml.SequenceNode) else []
    for part in inner:
        yield from _nodes(part, seen)


def _check_node(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        _check_unique_keys(node)
    elif isinstance(node, yaml.SequenceNode):
        _check_commas(node)
    elif isinstance(node, yaml.ScalarNode):
        _check_number(node)


def _check_unique_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            first = lines[key.value]
            raise _Fault(f"key {key.value!r} was given in line {first} already; keep one", line)
        lines[key.value] = line


def _check_number(node: yaml.ScalarNode) -> None:
    """YAML 1.1 reads 010 to the base 8, 1:40 to the base 60, and 1_0 as 10."""
    text = node.value
    odd = node.tag in NUMBER_TAGS and (":" in text or "_" in text)
    if node.style is None and (odd or re.fullmatch(r"[-+]?0\d+(\.\d*)?", text)):
        raise _Fault(
            f"{text} would be read as {yaml.safe_load(text)!r}; write the number in plain digits, "
            "or in quotes if it is a text",
            node.start_mark.line + 1,
        )


def _check_commas(node: yaml.SequenceNode) -> None:
    """``[0,5, 1]`` is a list of three to YAML, and of two to those who write a decimal comma."""
    for left, right in pairwise(node.value):
        between = right.start_mark.index - left.end_mark.index
        if (
            node.flow_style
            and left.tag in NUMBER_TAGS
            and right.tag in NUMBER_TAGS
            and between == 1
        ):
            raise _Fault(
                f"{left.value},{right.value} would be read as two numbers; write a decimal point, "
                "or a space after the comma",
                right.start_mark.line + 1,
            )
