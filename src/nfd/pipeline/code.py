"""What code a job's numbers depend on, and the digest of it: for rules, checkpoints and the store alike.

Nothing is listed by hand. :func:`digest` starts from a script or a function and follows every name that
its code uses, through imports, to the definition of that name: a function, a class with all its methods,
a constant. The digest is of these definitions as syntax trees. So

* comments, docstrings, formatting, annotations, texts of log lines and of errors, and whatever no reached
  code names, change nothing; nor does moving a definition to another module;
* any change of an operation, a constant or a default that is reached changes it.

It errs to one side. A name that could mean a definition counts as one; a class counts with all its
methods; the annotations of a class's own fields count, for dataclasses read them; and a statement of an
imported module that does more than define names counts always. Assumed is that an object comes from a
class that reached code names, and that modules are imported by ``import``. Code that imports by a name it
computes is refused, unless the modules it may import are given as entries too.

The Snakefile calls this, so nothing is imported that it looks at.
"""

import ast
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from nfd.pipeline.provenance import PACKAGE

# Modules and definitions that are not followed, and why no number depends on them.
HARMLESS: dict[str, str] = {
    "nfd.training.checkpoint": "a resumed job's bits are those of an undisturbed one",
    "nfd.pipeline.cost": "how many networks are stacked changes no number",
    "nfd.pipeline.device": "which device and how many threads; a table says so",
    "nfd.pipeline.replacing": "says what settings made a table",
    "nfd.pipeline.code": "says what others depend on",
    "nfd.pipeline.store": "gives back what was put in, its first steps, or nothing",
    "nfd.pipeline.foreign": "refuses a table or gives it back as it was",
    "nfd.report.judged": "shows what was judged",
    "nfd.files.atomic_path": "a file is whole or not there",
    "nfd.pipeline.provenance.provenance": "says what made a table, and is in none of its numbers",
}

Entry = str | Path | Callable[..., Any]
Key = tuple[str, str]  # module and name of a definition; the name "" is for its other statements
Dotted = tuple[str, ...]  # a.b.c as written
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_LOGGERS = ("log", "logging", "logger", "warnings")
_LOG_METHODS = ("debug", "info", "warning", "warn", "error", "exception", "critical")
# Fields of a syntax tree that no number depends on, or that some versions of Python lack.
_NOT_PART_OF_IT = {"ctx", "kind", "returns", "type_comment", "type_ignores", "type_params"}
_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class HiddenCodeError(ValueError):
    """Code that cannot be followed; the message names it and says what would be accepted."""


def digest(*entries: Entry, package: Path = PACKAGE) -> str:
    """Digest of the definitions that ``entries`` reach.

    An entry is a file (all of its statements) or a function of the package (with the classes that its
    signature names, for it is handed their objects). Raises HiddenCodeError.
    """
    return Code(package).digest(*entries)


def definitions(*entries: Entry, package: Path = PACKAGE) -> set[Key]:
    """(module, name) of every definition that ``entries`` reach. Raises HiddenCodeError."""
    reached, _ = Code(package).follow(entries)
    return {key for key in reached if key[1]}


# ------------------------------------------------------------------------- one piece of source


@dataclass
class _Source:
    """Statements as canonical text, and the names they use and import."""

    text: str
    names: set[Dotted]
    imports: list[ast.Import | ast.ImportFrom]


class _Reader:
    """Writes statements without what changes no number, and collects the names in the rest."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.names: set[Dotted] = set()
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.mute = False  # inside a log line or an error, whose texts do not count
        self.in_class = False

    def read(self, statements: Sequence[ast.stmt]) -> _Source:
        self._write(statements)
        return _Source("".join(self.parts), self.names, self.imports)

    def _write(self, node: object) -> None:
        if isinstance(node, list | tuple):
            for item in node:
                self._write(item)
            self.parts.append(";")
        elif not isinstance(node, ast.AST):
            self.parts.append(repr(node))
        elif isinstance(node, _IMPORTS):
            self.imports.append(node)
        elif isinstance(node, ast.Constant):
            text = self.mute and isinstance(node.value, str)
            self.parts.append("text " if text else f"{node.value!r} ")
        elif not _does_nothing(node):
            self._write_node(node)

    def _write_node(self, node: ast.AST) -> None:
        if (dotted := _dotted(node)) is not None:
            self.names.add(dotted)
            self.parts.append(".".join(dotted) + " ")
            return
        before = self.mute, self.in_class
        self.mute = self.mute or isinstance(node, ast.Raise) or _is_log_line(node)
        self.parts.append(f"{type(node).__name__}(")
        for name in node._fields:
            if name in _NOT_PART_OF_IT or (name == "annotation" and not before[1]):
                continue
            self.in_class = isinstance(node, ast.ClassDef) and name == "body"
            if (value := getattr(node, name, None)) not in (None, []):
                self.parts.append(f"{name}=")
                self._write(value)
        self.parts.append(")")
        self.mute, self.in_class = before


def _does_nothing(node: ast.AST) -> bool:
    """Docstrings, 'pass', and log lines that call nothing else."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or (
            isinstance(node.value, ast.Call) and _is_log_line(node.value) and not _acts(node.value)
        )
    return isinstance(node, ast.Pass)


def _is_log_line(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    dotted = _dotted(node.func) or ()
    return dotted == ("print",) or (
        len(dotted) == 2 and dotted[0] in _LOGGERS and dotted[1] in _LOG_METHODS
    )


def _acts(call: ast.Call) -> bool:
    """Whether the arguments of a call do more than read names."""
    acting = ast.Call | ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom
    return any(isinstance(node, acting) for node in ast.walk(call) if node is not call)


def _dotted(node: ast.AST) -> Dotted | None:
    """('a', 'b') of ``a.b``; None for what is not names and dots."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (inner := _dotted(node.value)) is not None:
        return (*inner, node.attr)
    return None


# ------------------------------------------------------------------------------------ modules


@dataclass
class _Module:
    """A file's top level: which statements bind which name, and which do something else."""

    name: str
    path: Path
    bindings: dict[str, list[ast.stmt]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)

    inner_imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    decorated: list[_Definition] = field(default_factory=list)

    def sort(self, statements: Sequence[ast.stmt]) -> None:
        """Put top-level statements where they belong."""
        for statement in statements:
            if isinstance(statement, _IMPORTS):
                self.imports.append(statement)
            elif isinstance(statement, ast.If) and _is_type_checking(statement.test):
                self.sort(statement.orelse)
            elif not _does_nothing(statement):
                self._sort_code(statement)

    def _sort_code(self, statement: ast.stmt) -> None:
        for name in _bound(statement):
            self.bindings.setdefault(name, []).append(statement)
        if isinstance(statement, _DEFINITIONS):
            if statement.decorator_list:
                self.decorated.append(statement)
            return
        self.imports += [node for node in ast.walk(statement) if isinstance(node, _IMPORTS)]
        if not _only_assigns(statement):
            self.effects.append(statement)


def _is_type_checking(test: ast.expr) -> bool:
    return (_dotted(test) or ("",))[-1] == "TYPE_CHECKING"


def _only_assigns(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return bool(targets) and all(isinstance(target, ast.Name | ast.Tuple) for target in targets)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement may bind."""
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, _DEFINITIONS):
            yield node.name


@lru_cache(maxsize=512)
def _parse(name: str, path: Path, text: str) -> _Module:
    module = _Module(name, path)
    tree = ast.parse(text, str(path))
    module.sort(tree.body)
    if re.search(r"^\s+(from|import)\s", text, re.MULTILINE):
        definitions = ast.Module([node for node in tree.body if isinstance(node, _DEFINITIONS)], [])
        inside = ast.walk(definitions)
        module.inner_imports = [node for node in inside if isinstance(node, _IMPORTS)]
    return module


@lru_cache(maxsize=4096)
def _read(statements: tuple[ast.stmt, ...]) -> _Source:
    return _Reader().read(statements)


# -------------------------------------------------------------------------------- what is reached


@dataclass
class _Node:
    """A definition: digest of its own text, what its names stand for, and those that compute an import."""

    own: str
    uses: list[tuple[str, Key]]
    computed: list[str]


class Code:
    """The code of a package, each file read once: for as long as it does not change."""

    def __init__(self, package: Path = PACKAGE) -> None:
        self.package = package
        self.nodes: dict[Key, _Node] = {}
        self.paths: dict[str, Path | None] = {}
        self.modules: dict[str, _Module] = {}
        self.scopes: dict[str, dict[str, tuple[str, str]]] = {}

    def digest(self, *entries: Entry) -> str:
        """As :func:`digest`."""
        return _digest(*self.follow(entries))

    def modules_of(self, *entries: Entry) -> list[Path]:
        """Files of the package that are imported when ``entries`` run, the harmless ones too, and sorted.

        Imports in functions count, those under TYPE_CHECKING do not.
        """
        return sorted({self.module(name).path for name in self.imported_by(entries)})

    # ---- names to files

    def path(self, name: str) -> Path | None:
        """File of a module of the package, or of a script, which goes by its path."""
        if name not in self.paths:
            self.paths[name] = self._find(name)
        return self.paths[name]

    def _find(self, name: str) -> Path | None:
        if name.endswith(".py"):
            return Path(name)
        first, *rest = name.split(".")
        if first != self.package.name:
            return None
        folder = self.package.joinpath(*rest)
        found = folder / "__init__.py", folder.with_suffix(".py")
        return next((path for path in found if path.is_file()), None)

    def module(self, name: str) -> _Module:
        if name not in self.modules:
            path = self.path(name)
            if path is None:
                raise HiddenCodeError(f"{name}: there is no such module in {self.package}")
            self.modules[name] = _parse(name, path, path.read_text(encoding="utf-8"))
        return self.modules[name]

    def _name(self, entry: Entry) -> str:
        if callable(entry):
            return entry.__module__
        path = Path(entry)
        if not path.is_file():
            raise HiddenCodeError(f"{path}: there is no such file")
        if not path.resolve().is_relative_to(self.package.resolve()):
            return str(path)
        inside = path.resolve().relative_to(self.package.resolve()).with_suffix("")
        parts = [part for part in inside.parts if part != "__init__"]
        return ".".join([self.package.name, *parts])

    # ---- imports

    def imported_by(self, entries: Sequence[Entry]) -> set[str]:
        """Names of the package's modules that are imported when ``entries`` run."""
        names = [self._name(entry) for entry in entries]
        found: set[str] = set()
        while names:
            name = names.pop()
            if name in found:
                continue
            found.add(name)
            module = self.module(name)
            names += self._parents(name)
            for statement in [*module.imports, *module.inner_imports]:
                for target in self._targets(module, statement).values():
                    names += self._files_of(*target)
        return {name for name in found if not name.endswith(".py")}

    def _files_of(self, module: str, member: str) -> list[str]:
        """Modules that an import of ``member`` (may be empty) of ``module`` loads."""
        if self.path(module) is None:
            return []
        inner = f"{module}.{member}"
        return [module, inner] if member and self.path(inner) else [module]

    def _parents(self, name: str) -> list[str]:
        parts = [] if name.endswith(".py") else name.split(".")
        return [".".join(parts[:n]) for n in range(1, len(parts))]

    def _targets(
        self, module: _Module, statement: ast.Import | ast.ImportFrom
    ) -> dict[str, tuple[str, str]]:
        """What an import binds: local name -> (module, member or '' for the module itself)."""
        if isinstance(statement, ast.Import):
            return {alias.asname or alias.name: (alias.name, "") for alias in statement.names}
        origin = statement.module or ""
        if statement.level:
            inside = module.path.name == "__init__.py"
            parts = module.name.split(".")
            base = parts[: len(parts) - statement.level + inside]
            origin = ".".join([*base, *filter(None, [statement.module])])
        names = [alias.name for alias in statement.names]
        if "*" in names and self.path(origin):
            raise HiddenCodeError(f"{module.path}: 'import *' hides what is used; name it")
        return {alias.asname or alias.name: (origin, alias.name) for alias in statement.names}

    # ---- from names to definitions

    def follow(self, entries: Sequence[Entry]) -> tuple[dict[Key, _Node], list[Key]]:
        """All that ``entries`` need, with what their imports do beside defining names; and their own."""
        may_compute_imports = sum(not callable(entry) for entry in entries) > 1
        roots = [key for entry in entries for key in self._of_entry(entry)]
        loaded = self.imported_by(entries) - set(HARMLESS)
        reached: dict[Key, _Node] = {}
        waiting = [*roots, *((name, "") for name in loaded)]
        while waiting:
            key = waiting.pop()
            if key not in reached:
                reached[key] = node = self._node(key)
                if node.computed and not may_compute_imports:
                    raise HiddenCodeError(
                        f"{self.module(key[0]).path}: {node.computed[0]!r} hides which code is used; "
                        "import it by a statement, or give the files it may load as entries"
                    )
                waiting += [used for _, used in node.uses]
        return reached, roots

    def _of_entry(self, entry: Entry) -> list[Key]:
        name = self._name(entry)
        module = self.module(name)
        if not callable(entry):
            return [(name, bound) for bound in ("", *module.bindings)]
        first = entry.__qualname__.split(".")[0]
        keys = self._member(name, first)
        for statement in module.bindings.get(first, []):
            arguments = ast.walk(statement.args) if isinstance(statement, ast.FunctionDef) else ()
            for argument in arguments:
                annotation = getattr(argument, "annotation", None)
                for node in ast.walk(annotation) if annotation else ():
                    if dotted := _dotted(node):
                        keys += self._resolve(module, self._scope(module), dotted)
        return keys

    def _statements(self, key: Key) -> list[ast.stmt]:
        module = self.module(key[0])
        if key[1]:
            return module.bindings[key[1]]
        return module.effects + [s for s in module.decorated if self._is_registered(module, s)]

    def _is_registered(self, module: _Module, statement: _Definition) -> bool:
        """Whether a decorator of this package sees the definition: it may keep it somewhere."""
        names = _read(tuple(statement.decorator_list)).names
        return any(self._resolve(module, self._scope(module), dotted) for dotted in names)

    def _node(self, key: Key) -> _Node:
        if key not in self.nodes:
            self.nodes[key] = self._read_node(key)
        return self.nodes[key]

    def _read_node(self, key: Key) -> _Node:
        module, source = self.module(key[0]), _read(tuple(self._statements(key)))
        scope = dict(self._scope(module))
        for statement in source.imports:
            scope |= self._targets(module, statement)
        names = sorted(source.names)
        uses, others = [], []
        for dotted in names:
            target = self._longest(scope, dotted)
            if target and self.path(target[0]) is None:
                others.append(f"{dotted[0]} is {target}")
            label = ".".join(dotted)
            uses += [(f"{label} {used[1]}", used) for used in self._resolve(module, scope, dotted)]
        computed = [dotted[-1] for dotted in names if _computes_import(dotted)]
        return _Node(_sha(source.text, *sorted(set(others))), uses, computed)

    def _scope(self, module: _Module) -> dict[str, tuple[str, str]]:
        if module.name not in self.scopes:
            scope: dict[str, tuple[str, str]] = {}
            for statement in module.imports:
                scope |= self._targets(module, statement)
            self.scopes[module.name] = scope
        return self.scopes[module.name]

    @staticmethod
    def _longest(scope: dict[str, tuple[str, str]], dotted: Dotted) -> tuple[str, str] | None:
        """What the import behind ``dotted`` is; ``import a.b`` is in scope as 'a.b'."""
        prefixes = (".".join(dotted[:n]) for n in range(len(dotted), 0, -1))
        return next((scope[prefix] for prefix in prefixes if prefix in scope), None)

    def _resolve(
        self, module: _Module, scope: dict[str, tuple[str, str]], dotted: Dotted
    ) -> list[Key]:
        """Definitions that ``dotted`` may stand for in ``module``; none for locals and libraries."""
        for n in range(len(dotted), 0, -1):
            target = scope.get(".".join(dotted[:n]))
            if target and self.path(target[0]):
                rest = [*filter(None, [target[1]]), *dotted[n:]]
                return self._in_module(target[0], rest)
        return [(module.name, dotted[0])] if dotted[0] in module.bindings else []

    def _in_module(self, name: str, rest: Sequence[str]) -> list[Key]:
        if name in HARMLESS:
            return []
        if rest:
            return self._member(name, *rest)
        # The module itself is handed on: anything in it may be used.
        return [(name, bound) for bound in self.module(name).bindings]

    def _member(self, name: str, member: str, *rest: str) -> list[Key]:
        module = self.module(name)
        if f"{name}.{member}" in HARMLESS:
            return []
        if member in module.bindings:
            return [(name, member)]
        if member in self._scope(module):
            return self._resolve(module, self._scope(module), (member, *rest))
        if self.path(f"{name}.{member}"):
            return self._in_module(f"{name}.{member}", rest)
        if member.startswith("__"):
            return []
        raise HiddenCodeError(
            f"{module.path}: {member!r} is used and not defined there; "
            "import it from the module that defines it"
        )


def _computes_import(dotted: Dotted) -> bool:
    return dotted[-1] in ("import_module", "__import__") or dotted in (("exec",), ("eval",))


def _digest(reached: Mapping[Key, _Node], roots: Sequence[Key]) -> str:
    """One digest of everything reached and of how it hangs together.

    Each definition's digest takes in those of what it uses, again and again until no two that differ
    look alike; so the module a definition stands in does not count, and which one a name means does.
    """
    digests = {key: node.own for key, node in reached.items()}
    kinds = 0
    while kinds < len(set(digests.values())):
        kinds = len(set(digests.values()))
        digests = {
            key: _sha(node.own, *sorted(f"{name} {digests[used]}" for name, used in node.uses))
            for key, node in reached.items()
        }
    return _sha(*sorted(digests[root] for root in roots), *sorted(set(digests.values())))[:16]


def _sha(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
