"""Public functions whose docstring leaves out what a caller has to know: shapes and dtypes of tensors, what is raised.

Run by hand for a list: `python -m tests.quality.docstrings [ROOM …]`, for example `core/solvers`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TENSOR = re.compile(r"\b(Tensor|NDArray|ndarray|Floats32|Floats|Counts)\b")
SHAPE = re.compile(r"\[[^\]]*\]|\bscalar\b|\bany shape\b|\bsame shape\b|\bshaped\b")
DTYPE = re.compile(r"\b(float\d*|bfloat16|u?int\d*|bool|complex\d*|dtypes?|integers?)\b")
UNREPORTED = {"NotImplementedError", "AssertionError", "StopIteration", "SystemExit", "AttributeError"}
"""Raised for Python itself, or for what cannot happen."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Gap:
    """What one docstring leaves out."""

    room: str
    where: str
    name: str
    missing: str

    def __str__(self) -> str:
        return f"{self.where}: {self.name} does not say {self.missing}"


@dataclass(frozen=True)
class Source:
    """One parsed file; `path` is relative to the project."""

    path: str
    tree: ast.Module

    @property
    def room(self) -> str:
        parts = self.path.split("/")
        return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def sources() -> tuple[Source, ...]:
    paths = sorted(path for room in ("app", "core") for path in (ROOT / room).rglob("*.py"))
    return tuple(Source(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))) for path in paths)


def gaps() -> Iterator[Gap]:
    """Every gap of the project."""
    parsed = sources()
    classes = [node for source in parsed for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)]
    methods = {node.name: {each.name for each in node.body if isinstance(each, Function)} for node in classes}
    bases = {node.name: {_last(base) for base in node.bases} for node in classes}
    agreed = {name for node in classes if "Protocol" in bases[node.name] for name in methods[node.name]}
    for source in parsed:
        for owner, function in _public(source.tree):
            if owner is not None and "Protocol" not in bases[owner.name]:
                inherited = _inherited(owner.name, bases, methods)
                if function.name in inherited or function.name in agreed:
                    continue
            yield from _gaps_of(source, owner, function)


def _gaps_of(source: Source, owner: ast.ClassDef | None, function: Function) -> Iterator[Gap]:
    own = ast.get_docstring(function) or ""
    around = (ast.get_docstring(owner) or "") if owner is not None else ""
    name = f"{owner.name}.{function.name}" if owner is not None else function.name
    where = f"{source.path}:{function.lineno}"
    if TENSOR.search(_annotations(function)):
        if not SHAPE.search(own + around):
            yield Gap(source.room, where, name, "the shape of its tensors")
        if not DTYPE.search(own + around):
            yield Gap(source.room, where, name, "the dtype of its tensors")
    for error in sorted(set(_raised(function)) - UNREPORTED):
        if not re.search(rf"\braises\b.*\b{error}\b", own, re.IGNORECASE | re.DOTALL):
            yield Gap(source.room, where, name, f"that it raises {error}")


def _public(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | None, Function]]:
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield None, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for each in node.body:
                if isinstance(each, Function) and not each.name.startswith("_"):
                    yield node, each


def _inherited(name: str, bases: dict[str, set[str]], methods: dict[str, set[str]]) -> set[str]:
    """Names of methods that the bases declare; a base outside the project (Qt, torch) declares whatever it likes."""
    found: set[str] = set()
    for base in bases.get(name, set()):
        found |= methods.get(base, set()) | (
            _inherited(base, bases, methods) if base in bases and base != name else set()
        )
    return found


def _annotations(function: Function) -> str:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    nodes = [each.annotation for each in every if each is not None and each.annotation is not None]
    return " ".join(ast.unparse(node) for node in [*nodes, *([function.returns] if function.returns else [])])


def _raised(function: Function) -> Iterator[str]:
    """Names of what the function raises itself, not what a function inside it raises."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = _last(node.exc.func)
            if name[:1].isupper():
                yield name
        stack.extend(ast.iter_child_nodes(node))


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _last(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:])
    listed = [gap for gap in gaps() if not wanted or gap.room in wanted]
    print("\n".join(map(str, listed)))
    print(f"{len(listed)} gaps")
