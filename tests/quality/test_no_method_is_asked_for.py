"""What a method can do is asked of its class: outside the methods' own rooms nothing tests which method it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from benchvise.core.export.targets.registry import TARGETS
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.microscaling import BlockFloat
from benchvise.core.methods.registry import SCHEMES, SOLVERS, TRANSFORMS
from benchvise.core.protocol.events import Event

ROOT = Path(__file__).parents[2]
OWN = ("core/methods/", "core/schemes/", "core/solvers/", "core/transforms/", "core/activations/")
METHODS = {
    kind.__name__
    for kind in (
        *SCHEMES.values(), *SOLVERS.values(), *TRANSFORMS.values(), *TARGETS.values(), BlockFloat, Activations
    )
}  # fmt: skip
TEXT = re.compile(
    r"""\b(scheme|solver|transform|target)\.key\s*((==|!=)\s*["'A-Z]|in\s*\()|\btag\.(startswith|endswith)\("""
)


def asked(path: Path) -> Iterator[int]:
    """Lines that test for a method."""
    text = path.read_text(encoding="utf-8")
    yield from (number for number, line in enumerate(text.splitlines(), 1) if TEXT.search(line))
    yield from lines_asking(path, METHODS)


def lines_asking(path: Path, classes: set[str]) -> Iterator[int]:
    """Lines that ask whether something is of one of the classes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.MatchClass) and getattr(node.cls, "id", "") in classes:
            yield node.cls.lineno
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            names = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            if names & classes:
                yield node.lineno


def test_nothing_asks_which_method_it_is() -> None:
    found: dict[str, list[int]] = {}
    for room in ("core", "app"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            lines = [] if name.startswith(OWN) else sorted(set(asked(path)))
            if lines:
                found[name] = lines
    assert found == {}


def test_parts_of_the_window_listen_and_do_not_sort_events() -> None:
    """`EngineClient.listen` tells events apart, once."""
    events = {kind.__name__ for kind in get_args(Event)}
    found = {}
    for path in sorted((ROOT / "app").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        lines = [] if name.startswith(("app/engine/", "app/cli/")) else sorted(set(lines_asking(path, events)))
        if lines:
            found[name] = lines
    assert found == {}
