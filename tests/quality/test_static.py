"""Style, types, the directions of imports and what is declared to be needed hold for the whole project."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import SLOW, TESTS

ROOT = Path(__file__).parents[2]
TOOLS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "import contracts": ["lint-imports", "--no-cache"],
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("tool", TOOLS)
def test_tool_finds_nothing(tool: str) -> None:
    name, *arguments = TOOLS[tool]
    command = [str(Path(sys.executable).parent / name), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


BROUGHT_ALONG = {"shiboken6": "pyside6-essentials", "tokenizers": "transformers", "huggingface-hub": "transformers"}
"""What comes with another package by the nature of the thing."""
OPTIONAL = {
    "triton",
    "compressed-tensors",
    "h5py",
    "pillow",
    "onnx",
    "onnxruntime",
    "openvino",
    "ray",
    "mlx",
    "mlx-lm",
    "mlx-cpu",
    "mlx-metal",
}
"""Looked for at run time, and done without."""


def _imported(room: str) -> Iterator[tuple[str, str]]:
    """(first part of the module's name, where it is imported)."""
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            yield from ((name.partition(".")[0], f"{path.relative_to(ROOT)}:{node.lineno}") for name in names)


@pytest.mark.parametrize("room", ["app", "core", "benchvise"])
def test_whatever_is_imported_is_installed_with_the_program(room: str) -> None:
    """What only the tests install is not there after `make run`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[\s<>=!~;\[]", words, maxsplit=1)[0].lower() for words in project["dependencies"]}
    providers = packages_distributions()
    missing = {}
    for name, where in _imported(room):
        if name in sys.stdlib_module_names or name == "benchvise":
            continue
        found = {each.lower().replace("_", "-") for each in providers.get(name, [name])}
        found |= {BROUGHT_ALONG[each] for each in found & set(BROUGHT_ALONG)}
        if not found & (declared | OPTIONAL):
            missing[name] = where
    assert not missing


def test_slow_files_are_there() -> None:
    assert not [name for name in SLOW if not (TESTS / f"{name}.py").is_file()]
