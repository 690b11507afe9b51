"""`benchvise check`: findings, and what the shell is told."""

import pytest

from tests.app.cli.cli_runs import SAMPLE

BLOCKED = 5


def findings(answer, kind):
    return [finding for finding in answer["findings"] if finding["kind"] == kind]


def test_a_recipe_that_may_run_and_loads(shell):
    answer = shell.json("check", "int4-g128", "--for", "vllm")
    assert (answer["may_run"], answer["loads"], answer["runtime"]) == (True, True, "vllm")
    (loads,) = findings(answer, "loads")
    assert loads["level"] == "fine"
    said = shell.run("check", "int4-g128", "--for", "vllm")
    assert said.code == 0
    assert "checked on a reference Llama" in said.out
    assert said.out.rstrip().endswith("vLLM loads the result")


def test_what_a_runtime_does_not_load_has_a_code_of_its_own(shell):
    said = shell.run("check", "int4-g128", "--for", "llama.cpp", "--to", "compressed-tensors")
    assert said.code == BLOCKED
    assert said.out.startswith("checked on")
    assert "blocks  llama.cpp does not load what is written as compressed-tensors" in said.out
    assert "· Export as GGUF" in said.out
    assert shell.run("check", "gguf-q4_k", "--for", "llama.cpp").code == 0


def test_a_checkpoint_its_text_and_its_disk(shell, tmp_path):
    answer = shell.json("check", "gptq-int4-g128", SAMPLE, "--out", tmp_path / "out")
    assert answer["may_run"]
    (calibration,) = findings(answer, "calibration")
    assert "121 of 128" in calibration["title"]
    (fix,) = calibration["fixes"]
    assert fix["recipe"]["calibration"]["windows"] == 121
    (disk,) = findings(answer, "disk")
    assert disk["level"] == "fine"
    assert not (tmp_path / "out").exists()


def test_a_recipe_in_a_file_and_what_blocks_it(shell, tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        "benchvise: 1\nrules:\n- targets: [linears]\n  scheme: {method: integer, group_size: 128}\n", encoding="utf-8"
    )
    said = shell.run("check", recipe, SAMPLE)
    assert said.code == BLOCKED
    assert "The group size 128 does not divide the 64 inputs" in said.out
    assert "blocked: the recipe cannot be carried out as it is" in said.out


def test_compress_lists_every_fallback_before_it_runs(shell, tmp_path):
    words = ("compress", SAMPLE, "--preset", "nf4-g64", "--out")
    said = shell.run(*words, tmp_path / "out")
    assert said.code == 0
    assert "warns   Everything is written dense" in said.err
    assert "tells   5 layers: group size 86 instead of 64" in said.err
    assert "warning: Everything is written dense" in said.out
    shell.json(*words, tmp_path / "again")


@pytest.mark.parametrize(
    ("words", "code"),
    [(("check", "int5-g128"), 3), (("check", "int4-g128", "--for", "vlm"), 2), (("check", "int4-g128", "/nowhere"), 3)],
)
def test_refusals(shell, words, code):
    shell.error(code, *words)
