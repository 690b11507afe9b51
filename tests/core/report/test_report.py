"""A report says what the workspace knows, needs nothing else to be read, and can be done again."""

from __future__ import annotations

import hashlib
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchvise.core.engine import answer
from benchvise.core.errors import OutputError, UserError
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Evaluate, Export, MakeReport, Reproduce
from benchvise.core.protocol.results import Reported, Reproduced, Run
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
RECIPE = Recipe((Rule(("*.mlp.*",), Treatment(Integer(4, granularity="channel"))),), name="mlp-4")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with a run that was exported and judged."""
    folder = tmp_path_factory.mktemp("report")
    run = answer(Compress(str(SAMPLE), RECIPE, workspace=str(folder / "work")), NullProgress())
    assert isinstance(run, Run)
    answer(Export(run.run, "dense", str(folder / "out"), str(folder / "work")), NullProgress())
    judge = Evaluate(f"run:{run.run}", "", str(SAMPLE), windows=1, window_tokens=64, workspace=str(folder / "work"))
    answer(judge, NullProgress())
    return folder / "work", run.run


def made(kept: tuple[Path, str], **asked: Any) -> Reported:
    found = answer(MakeReport(kept[1], workspace=str(kept[0]), **asked), NullProgress())
    assert isinstance(found, Reported)
    return found


def again(report: Path, workspace: str = "", **asked: Any) -> Reproduced:
    found = answer(Reproduce(str(report), workspace=workspace, **asked), NullProgress())
    assert isinstance(found, Reproduced)
    return found


class Page(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]


def test_the_page_needs_nothing_else_and_names_no_place(kept: tuple[Path, str], tmp_path: Path) -> None:
    found = made(kept, out=str(tmp_path / "report.html"), prompt="Once upon")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text == found.text
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert page.tags.count("figure") == 4
    assert str(SAMPLE.parent) not in text
    assert str(kept[0]) not in text
    for word in ("KL divergence", "model.layers.4.mlp.down_proj", "int4 channel", "mlp-4", "Once upon", "torch"):
        assert word in text


def test_its_figures_are_those_of_the_files(kept: tuple[Path, str]) -> None:
    found = made(kept, form="json")
    facts = json.loads(found.text)
    assert facts["files"] == [
        ["model.safetensors", hashlib.sha256((SAMPLE / "model.safetensors").read_bytes()).hexdigest()]
    ]
    assert [layer["name"] for layer in facts["layers"]] == [
        f"model.layers.{block}.mlp.{part}_proj" for block in range(5) for part in ("gate", "up", "down")
    ]
    assert facts["evaluation"]["kl_mean"] > 0
    assert facts["exports"][0]["target"] == "dense"
    histogram = facts["histograms"][0]
    assert sum(histogram["before"]) == sum(histogram["after"]) == 64 * 172
    worst = min(facts["layers"], key=lambda layer: layer["sqnr_db"])
    assert histogram["layer"] == worst["name"]
    assert facts["latency"] is None
    assert "not measured" in made(kept, form="markdown").text


def test_doing_it_again_gives_the_same_hashes(kept: tuple[Path, str], tmp_path: Path) -> None:
    made(kept, out=str(tmp_path / "report.html"))
    found = again(tmp_path / "report.html", str(kept[0]))
    assert (len(found.same), found.different) == (15, ())
    assert again(tmp_path / "report.html", str(tmp_path / "elsewhere"), path=str(SAMPLE)).same == found.same


def test_another_result_and_another_checkpoint_are_told(kept: tuple[Path, str], tmp_path: Path) -> None:
    facts = json.loads(made(kept, form="json").text)
    facts["layers"][3]["sha256"] = "0" * 64
    facts["versions"][1][1] = "1.0"
    (tmp_path / "report.json").write_text(json.dumps(facts))
    found = again(tmp_path / "report.json", str(kept[0]))
    assert found.different == (facts["layers"][3]["name"],)
    assert any("torch is" in change for change in found.changes)
    shutil.copytree(SAMPLE, tmp_path / "other")
    whole = bytearray((tmp_path / "other" / "model.safetensors").read_bytes())
    whole[-1] ^= 1
    (tmp_path / "other" / "model.safetensors").write_bytes(whole)
    with pytest.raises(UserError, match="not the checkpoint of the report"):
        again(tmp_path / "report.json", str(kept[0]), path=str(tmp_path / "other"))
    with pytest.raises(UserError, match="does not know the run"):
        again(tmp_path / "report.json", str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("content", ["", "[]", "<html></html>", '{"run": 1}'])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "report.html").write_text(content)
    with pytest.raises(UserError, match="cannot be read"):
        again(tmp_path / "report.html")


def test_a_file_that_is_there_stays(kept: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(OutputError):
        made(kept, form="markdown", out=str(tmp_path / "report.md"))
    assert (tmp_path / "report.md").read_text() == "mine"
