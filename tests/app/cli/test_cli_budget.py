"""`benchvise plan --budget` on the sample: from words to a recipe file that keeps the budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchvise.app.cli.entry import main
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import load_recipe

SAMPLE = str(Path(__file__).parents[3] / "resources" / "sample")
FEW = ["--candidates", "int2 channel", "int4 channel", "int8 channel", "--windows", "2", "--window-tokens", "32"]
ATTENTION = ["--layers", "model.layers.*.self_attn.*"]


@pytest.fixture
def plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(*words: str) -> tuple[int, dict[str, object]]:
        workspace = ["--workspace", str(tmp_path / "workspace")]
        code = main(["plan", SAMPLE, *FEW, *ATTENTION, *workspace, "--json", *words])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_the_recipe_keeps_the_budget(plan, tmp_path: Path) -> None:
    out = tmp_path / "recipe.yaml"
    code, data = plan("--budget", "5bpw", "--method", "fisher", "--out", str(out))
    assert code == 0
    made = make_plan(open_checkpoint(SAMPLE), load_recipe(out))
    rows = [row for row in made.rows() if ".self_attn." in row.layer.name]
    assert 8 * sum(row.bytes_after for row in rows) / sum(row.layer.parameters for row in rows) <= 5
    assert data["bytes_after"] == made.bytes_after
    assert [each["treatment"] for each in data["allocation"]] == [row.treatment.tag for row in rows]
    assert data["kl"]["low"] <= data["kl"]["value"] <= data["kl"]["high"]
    assert all(row.treatment.keeps for row in made.rows() if ".self_attn." not in row.layer.name)


def test_the_forecast_is_held_against_what_is_measured(
    plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, workspace = tmp_path / "recipe.yaml", ["--workspace", str(tmp_path / "workspace")]
    _, data = plan("--budget", "5bpw", "--method", "enable_one", "--out", str(out))
    small = str(tmp_path / "small")
    assert main(["compress", SAMPLE, "--recipe", str(out), "--out", small, *workspace]) == 0
    assert main(["evaluate", small, "--against", SAMPLE, "--windows", "2", "--window-tokens", "32", *workspace]) == 0
    capsys.readouterr()
    assert main(["runs", "--track-record", "--json", *workspace]) == 0
    said = capsys.readouterr().out
    assert str(data["kl"]["value"]) in said


def test_kept_and_locked_layers_stay(plan) -> None:
    code, data = plan(
        "--budget", "12bpw", "--method", "fisher", "--keep", "model.layers.0.*", "--lock",
        "model.layers.1.self_attn.q_proj=int8 channel", "--fused",
    )  # fmt: skip
    assert code == 0
    found = {each["name"]: each["treatment"] for each in data["allocation"]}
    assert {found[f"model.layers.0.self_attn.{part}_proj"] for part in "qkvo"} == {"keep"}
    assert {found[f"model.layers.1.self_attn.{part}_proj"] for part in "qkv"} == {"int8 channel"}


def test_the_second_time_nothing_is_measured(plan) -> None:
    _, first = plan("--budget", "5bpw", "--method", "enable_one")
    _, again = plan("--budget", "6bpw", "--method", "enable_one")
    assert first["sensitivity"]["key"] == again["sensitivity"]["key"]
    assert again["kl"]["value"] < first["kl"]["value"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--budget", "5 apples"], "is no budget"),
        (["--budget", "1bpw", "--method", "fisher"], "cannot be met"),
        (["--budget", "5bpw", "--keep", "nothing.*"], "matches no layer"),
        (["--budget", "5bpw", "--lock", "model.layers.0.*"], "names no treatment"),
        (["--budget", "5bpw", "--keep", "model.layers.0.*", "--lock", "model.layers.0.*=int8 channel"], "locked twice"),
        ([], "nothing to plan"),
    ],
)
def test_bad_words_are_refused(plan, words: list[str], what: str) -> None:
    code, data = plan(*words)
    assert code != 0
    assert what in data["error"]["what"]


def test_an_existing_file_is_not_written_over(plan, tmp_path: Path) -> None:
    out = tmp_path / "recipe.yaml"
    out.write_text("mine")
    code, data = plan("--budget", "5bpw", "--out", str(out))
    assert code != 0
    assert "exists already" in data["error"]["what"]
    assert out.read_text() == "mine"


def test_the_table_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["plan", SAMPLE, *FEW, *ATTENTION, "--budget", "5bpw", "--method", "fisher", "--workspace", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "next better" in said
    assert "nats per token, between" in said
    assert "bits per weight over 20 layers" in said


def test_a_budget_that_everything_keeps_and_one_that_the_export_exceeds_are_said(plan) -> None:
    code, data = plan("--budget", "100GB", "--method", "fisher")
    assert code == 0
    assert any("Nothing has to be treated" in warning for warning in data["warnings"])
    narrow = ["--candidates", "int4 channel asym", "--method", "fisher", "--no-correction"]
    least = open_checkpoint(SAMPLE).nbytes - 211_000
    _, data = plan(*narrow, "--budget", f"{least}B")
    assert data["bytes_after"] <= least < data["export"]["bytes"]
    assert any("more than the budget" in warning for warning in data["warnings"])
