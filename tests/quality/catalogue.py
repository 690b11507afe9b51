"""The texts that the window says, and the catalogue that translates them: `make translations` brings it up to date."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

import benchvise.core.methods
from benchvise.app.state.preference_values import PreferenceValues
from benchvise.core.export.targets.registry import TARGETS
from benchvise.core.methods.registry import AXES
from benchvise.core.preflight.runtimes import RUNTIMES
from benchvise.core.recipe.presets import load_preset, preset_names
from benchvise.core.settings import Setting, settings_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "resources" / "translations"
Key = str | tuple[str, str]
"""What is said, or its forms for one and for several."""
_CALLS = {"tr", "message"}
_WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)  # a date of its own would change the file each time


def source_texts() -> set[Key]:
    """Everything that may be said: in calls, and in what registries declare."""
    found: set[Key] = set()
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if any(f"{name}(" in text for name in (*_CALLS, "counted", "plural")):
            found.update(_calls(ast.parse(text)))
    return found | {text for text in _declared() if any(letter.isalpha() for letter in text)}


def sources() -> list[Path]:
    return [path for room in ("app", "core") for path in sorted((ROOT / room).rglob("*.py"))]


def _calls(tree: ast.AST) -> Iterator[Key]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        texts = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
        said = [text for text in texts if isinstance(text, str)]
        if node.func.id in _CALLS and said:
            yield said[0]
        elif node.func.id == "counted" and len(said) == 2:
            yield said[0], said[1]
        elif node.func.id == "plural" and said:
            yield f"{{count}} {said[0]}", f"{{count}} {said[0]}s"


def _declared() -> Iterator[str]:
    """Of methods, their settings, targets, runtimes and presets."""
    yield from _of_methods()
    for target in TARGETS.values():
        yield from (target.title, target.summary, target.loaded_by)
    for runtime in RUNTIMES.values():
        yield from (runtime.title, runtime.head)
        yield from (fused.title for fused in runtime.fused)
        for form in runtime.forms:
            yield from (form.name, form.faster, form.why, form.caveat, form.unaligned)
    yield from (load_preset(name).description for name in preset_names())
    for declared in settings_of(PreferenceValues):
        yield from _of_setting(declared)


def _of_methods() -> Iterator[str]:
    for axis in AXES.values():
        for method in axis.values():
            yield from (method.title, method.summary)
    for module in pkgutil.iter_modules(benchvise.core.methods.__path__, "benchvise.core.methods."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                for declared in settings_of(kind):
                    yield from _of_setting(declared)


def _of_setting(declared: Setting) -> Iterator[str]:
    yield from (declared.title, declared.help, declared.unit, declared.empty)
    yield from (title for _, title in declared.choices)


def read_catalogue(code: str) -> Catalog:
    with (FOLDER / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def translations(code: str) -> dict[Key, str]:
    """Key → translation, "" where there is none. A language with one form for all numbers has one text for each."""
    found: dict[Key, str] = {}
    for entry in read_catalogue(code):
        if entry.id:
            key = tuple(entry.id) if entry.pluralizable else entry.id
            found[key] = entry.string[0] if entry.pluralizable else entry.string
    return found


def write_catalogue(code: str, texts: dict[Key, str]) -> None:
    """The .po file that people edit and the window reads."""
    catalogue = Catalog(locale=code, project="Benchvise", fuzzy=False, creation_date=_WRITTEN, revision_date=_WRITTEN)
    for key in sorted(texts, key=lambda each: each if isinstance(each, str) else each[0]):
        catalogue.add(key, (texts[key],) if isinstance(key, tuple) else texts[key])
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{code}.po").open("wb") as file:
        write_po(file, catalogue, width=0, omit_header=False)


def update(code: str) -> list[Key]:
    """Bring a catalogue up to date with the sources, keeping what is translated; what is left to translate."""
    old = translations(code) if (FOLDER / f"{code}.po").exists() else {}
    texts = {key: old.get(key, "") for key in source_texts()}
    write_catalogue(code, texts)
    return [key for key, text in texts.items() if not text]


if __name__ == "__main__":
    for missing in sorted(map(str, update("zh_CN"))):
        print("to translate:", missing)
