"""Registries that take methods of installed packages, and work without those that are broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.compress.record import record_key
from benchvise.core.errors import RecipeError
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.registry import SOLVERS
from benchvise.core.methods.solver import Solver
from benchvise.core.methods.transform import Transform
from benchvise.core.plugins import Origin, Registry, implementation
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

GROUP = "benchvise.transforms"
SAMPLE = Path(__file__).parents[2] / "resources" / "sample"


@dataclass(frozen=True)
class Randomised(Solver):
    key: ClassVar[str] = "randomised"
    title: ClassVar[str] = "Randomised"
    summary: ClassVar[str] = "Draws something."
    source: ClassVar[str] = "here"

    @property
    def randomised(self) -> bool:
        return True


@dataclass(frozen=True)
class Own(Transform):
    key: ClassVar[str] = "own"
    title: ClassVar[str] = "Own"
    summary: ClassVar[str] = "One of ours."
    source: ClassVar[str] = "here"
    reach: ClassVar[str] = "block"  # type: ignore[assignment]


HEAD = """
from dataclasses import dataclass
from benchvise.core.methods.transform import Transform
from benchvise.core.settings import setting
"""

GOOD = (
    HEAD
    + """
@dataclass(frozen=True)
class Good(Transform):
    key, title, summary, source, reach = "good", "Good", "Does good.", "a package", "block"
    steps: int = setting(3, title="Steps", help="How many.")

    @classmethod
    def implementation(cls):
        class Made: ...
        return Made
"""
)


def install(folder: Path, name: str, module: str, text: str, entries: str, version: str = "1.2") -> None:
    """What an installer leaves of a package with one file."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def registry() -> Registry[Transform]:
    return Registry(GROUP, Transform, (Own,))


def test_a_method_of_an_installed_package_is_found_with_its_origin(site: Path) -> None:
    install(site, "good-package", "good_module", GOOD, "good = good_module:Good")
    found = registry()
    assert list(found) == ["own", "good"]
    origin = found.origin("good")
    assert origin is not None
    assert (origin.distribution, origin.version) == ("good-package", "1.2")
    assert found.origin("own") is None
    assert found.problems == ()
    assert implementation(found["good"], object) is implementation(found["good"], object)
    with pytest.raises(RecipeError, match="'good' of the module good_module cannot be used: its implementation is no"):
        implementation(found["good"], Path)


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("import nothing_of_that_name", "import", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "import", "SystemExit"),
        ("Bad = 1 / 0", "import", "ZeroDivisionError"),
        ("class Bad: pass", "class", "no subclass of Transform"),
        (GOOD.replace("Good", "Bad").replace(", source,", ", other,"), "class", "no source"),
        (GOOD.replace("Good", "Bad").replace('"good"', '"No Key"'), "class", "'No Key'"),
        (GOOD.replace("Good", "Bad").replace("implementation", "other"), "class", "classmethod 'implementation'"),
        (GOOD.replace("Good", "Bad").replace("@dataclass(frozen=True)", ""), "class", "not decorated"),
        (GOOD.replace("Good", "Bad").replace('setting(3, title="Steps", help="How many.")', "3"), "class", "'steps'"),
        (GOOD.replace("Good", "Bad").replace('"good"', '"own"'), "clash", "'own' of Benchvise"),
    ],
)
def test_a_broken_one_is_skipped_and_named(site: Path, text: str, kind: str, detail: str) -> None:
    install(site, "bad-package", "bad_module", text, "bad = bad_module:Bad")
    install(site, "good-package", "good_module", GOOD, "good = good_module:Good")
    found = registry()
    assert list(found) == ["own", "good"]
    (problem,) = found.problems
    assert (problem.origin.distribution, problem.kind) == ("bad-package", kind)
    assert problem.entry == "bad = bad_module:Bad"
    assert detail in problem.detail


def test_of_two_packages_with_one_key_the_first_by_name_has_it(site: Path) -> None:
    install(site, "b-package", "module_b", GOOD, "good = module_b:Good")
    install(site, "a-package", "module_a", GOOD, "good = module_a:Good")
    found = registry()
    assert found["good"].__module__ == "module_a"
    (problem,) = found.problems
    assert (problem.origin.distribution, problem.kind, problem.detail) == (
        "b-package",
        "clash",
        "'good' of a-package 1.2",
    )


def test_a_package_may_look_into_the_registry_while_it_is_loaded(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry()
    monkeypatch.setattr("benchvise.core.plugins.under_test", found, raising=False)
    look = "from benchvise.core.plugins import under_test\nSEEN = list(under_test)\n"
    install(site, "curious-package", "curious", look + GOOD, "good = curious:Good")
    assert list(found) == ["own", "good"]
    assert found["good"].__module__ == "curious"


def test_another_version_of_a_package_is_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = next(layer for layer in open_checkpoint(SAMPLE).layers if layer.kind == "linear")
    treatment = Treatment(Integer(), Randomised())
    monkeypatch.setitem(SOLVERS, "randomised", Randomised)
    found = []
    for origin in (None, Origin("a-package", "1"), Origin("a-package", "2")):
        monkeypatch.setattr(SOLVERS, "_origins", {} if origin is None else {"randomised": origin})
        keys = [record_key(layer, treatment, None, seed) for seed in (0, 1)]
        found += [*keys, Recipe((Rule(("linears",), treatment),)).digest]
    assert len(set(found)) == 9


def test_the_seed_of_our_deterministic_methods_is_not_part_of_a_record() -> None:
    layer = next(layer for layer in open_checkpoint(SAMPLE).layers if layer.kind == "linear")
    assert record_key(layer, Treatment(Integer()), None, 0) == record_key(layer, Treatment(Integer()), None, 1)
