"""Who may import whom: this table is the plan of the house, and the code is held to it.

A room is a folder of src/nfd, or a module beside the folders. Each may import the rooms above it in the
table that its line names, and no other; so there is no circle. docs/architecture.md says what each is for.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "nfd"

# room -> the rooms it may import, from the ground floor up
ROOMS = {
    "choices": "",
    "files": "",
    "seeds": "",
    "network": "choices seeds",
    "closed_form": "choices network",
    "training": "choices files seeds network",
    "limit": "choices seeds network training",
    "data": "files seeds",
    "pipeline": "choices files network training limit data",
    "evidence": "seeds network",
    "drawing": "files network training evidence",
    "claims": "closed_form network evidence drawing",
    "report": "files network data pipeline evidence drawing claims",
    "rounds": "network pipeline evidence claims",
    "__init__": "closed_form network training limit",
}
# In a family of claims: file -> the rooms it may import; `claims` are the modules that families share.
FAMILY = {
    "__init__": "claims",
    "evidence": "closed_form network evidence claims",
    "verdict": "evidence claims",
    "figure": "evidence drawing claims",
}
# library -> the rooms that may import it, in any of their functions
LIBRARIES = {
    "snakemake": "",
    "torch": "network training limit pipeline",
    "torchvision": "data",
    "sklearn": "data",
    "PIL": "data",
    "jsonschema": "pipeline",
    "pyarrow": "pipeline",
    "scipy": "closed_form evidence report",
    "pandas": "pipeline evidence drawing claims report rounds",
    "matplotlib": "drawing claims",
    "seaborn": "drawing",
    "jinja2": "report",
}
# Modules that make tables, figures and pages from tables: they start in a second, for they load no torch.
LIGHT = ("evidence", "drawing", "claims", "report", "closed_form", "data")

MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def family_of(module: str) -> str:
    """The family of claims that a module belongs to; empty for all others."""
    parts = module.split(".")
    shared = (
        len(parts) < 3 or parts[1] != "claims" or (PACKAGE / "claims" / f"{parts[2]}.py").exists()
    )
    return "" if shared else parts[2]


@cache
def imports_of(path: Path) -> tuple[tuple[str, str, bool], ...]:
    """(module, name or "", whether for types only) of every import, those in functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the whole name"
            names = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        else:
            continue
        found += [(module, name, node in typing) for module, name in names]
    return tuple(found)


def own_imports(module: str) -> Iterator[tuple[str, bool]]:
    """(imported module of this package, whether for types only)."""
    for source, name, types in imports_of(MODULES[module]):
        if f"{source}.{name}" in MODULES:
            yield f"{source}.{name}", types
        elif source in MODULES:
            yield source, types


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_those_its_line_names(module):
    room = room_of(module)
    allowed = {room, *ROOMS[room].split()}
    for other, _ in own_imports(module):
        assert room_of(other) in allowed, f"{module} imports {other}"


def test_the_table_is_of_the_rooms_there_are_and_has_no_circle_and_no_spare_line():
    rooms = list(ROOMS)
    assert {room_of(module) for module in MODULES} == set(rooms)
    for place, (room, allowed) in enumerate(ROOMS.items()):
        assert set(allowed.split()) <= set(rooms[:place]), room
        used = {
            room_of(other)
            for module in MODULES
            if room_of(module) == room
            for other, _ in own_imports(module)
        }
        assert used - {room} == set(allowed.split()), room


@pytest.mark.parametrize("module", [name for name in MODULES if family_of(name)])
def test_a_family_of_claims_imports_what_its_part_may_and_no_other_family(module):
    family = family_of(module)
    part = module.split(".")[3] if module.count(".") > 2 else "__init__"
    for other, _ in own_imports(module):
        assert family_of(other) in ("", family), f"{module} imports {other}"
        if family_of(other) == family:
            assert part == "verdict", f"{module}: {other}"
            assert other.split(".")[-1] == "evidence", f"{module}: {other}"
        else:
            assert room_of(other) in FAMILY[part].split(), f"{module} imports {other}"


def test_no_module_waits_for_itself():
    """Imports that only a type checker sees may go round, no others."""
    waiting: list[str] = []
    done: set[str] = set()

    def visit(module: str) -> None:
        assert module not in waiting, " -> ".join([*waiting[waiting.index(module) :], module])
        if module in done:
            return
        waiting.append(module)
        for other, types in own_imports(module):
            if not types and other != module:
                visit(other)
        done.add(waiting.pop())

    for module in MODULES:
        visit(module)


# Each family of claims has a FAMILY; type variables and loggers are nobody's names.
REPEATED = {"FAMILY", "T"}


def test_a_class_or_constant_has_one_meaning():
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            else:
                continue
            for name in names:
                if name[0].isupper():
                    homes.setdefault(name, []).append(module)
    twice = {name: found for name, found in homes.items() if len(found) > 1}
    assert set(twice) <= REPEATED, twice


OURS = [
    path for folder in ("src", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")
]


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_name_is_used_across_modules(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = set()
    for source, name, _ in imports_of(path):
        assert not name.startswith("_") or name.startswith("__"), f"{source}.{name}"
        if f"{source}.{name}" in MODULES:
            modules.add(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            private = node.attr.startswith("_") and not node.attr.startswith("__")
            assert not (private and node.value.id in modules), ast.unparse(node)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_in_the_rooms_its_line_names(library):
    users = {
        room_of(module)
        for module, path in MODULES.items()
        for source, _, types in imports_of(path)
        if source.split(".")[0] == library and not types
    }
    assert users == set(LIBRARIES[library].split())


def loaded_with(modules: list[str]) -> set[str]:
    """What is loaded, by the first part of its name, when these modules are, in a new Python."""
    code = f"import sys, {', '.join(modules)}; print(*{{n.split('.')[0] for n in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_works_on_tables_loads_no_torch():
    modules = [module for module in MODULES if room_of(module) in LIGHT]
    assert not {"torch", "snakemake"} & loaded_with(modules)


def test_evidence_and_verdicts_load_no_matplotlib():
    judged = [
        module
        for module in MODULES
        if room_of(module) == "evidence"
        or (module.startswith("nfd.claims") and not module.endswith(".figure"))
    ]
    loaded = loaded_with(judged)
    assert "pandas" in loaded
    assert not {"torch", "matplotlib", "seaborn"} & loaded
