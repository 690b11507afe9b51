"""Commands that read headers or one layer."""

from __future__ import annotations

import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.app.cli.cli_runs import SAMPLE, Shell

DOWN = "model.layers.0.mlp.down_proj"


def test_inspect_lists_every_tensor(shell: Shell) -> None:
    seen = shell.json("inspect", SAMPLE)
    stored = load_file(SAMPLE / "model.safetensors")
    assert seen["format"] == "safetensors"
    assert seen["tensors"] == len(seen["layers"]) == len(stored)
    assert seen["parameters"] == sum(tensor.size for tensor in stored.values())
    assert seen["bytes"] == sum(tensor.nbytes for tensor in stored.values())
    for layer in seen["layers"]:
        tensor = stored[layer["tensor"]]
        assert tuple(layer["shape"]) == tensor.shape
        assert (layer["dtype"], layer["bytes"]) == ("float32", tensor.nbytes)
        assert {"name", "role", "depth", "kind", "tied"} <= layer.keys()
    by_name = {layer["name"]: layer for layer in seen["layers"]}
    assert (by_name[DOWN]["role"], by_name[DOWN]["depth"]) == ("mlp.down", 0)
    assert by_name["model.embed_tokens"]["tied"] == ["lm_head"]


def test_a_spectrum_says_what_a_rank_keeps_weighs_and_costs(shell: Shell) -> None:
    squares = np.square(np.linalg.svd(load_file(SAMPLE / "model.safetensors")[f"{DOWN}.weight"], compute_uv=False))
    seen = shell.json("spectrum", SAMPLE, DOWN, "--rank", "20", "--estimate", "--windows", "2")
    assert (seen["rank"], seen["rank_bytes"], seen["largest"]) == (20, 20 * (64 + 172) * 4, 46)
    assert seen["energy"][20] == pytest.approx(squares[:20].sum() / squares.sum())
    assert np.diff(seen["kl"]).max() <= 0 == seen["kl"][-1]
    assert [each["nbytes"] for each in seen["bits"]] == sorted(each["nbytes"] for each in seen["bits"])
    assert shell.json("spectrum", SAMPLE, DOWN, "--energy", "0.5")["rank"] == 16
    said = shell.run("spectrum", SAMPLE, DOWN, "--share", "0.8").out
    assert "→ 37   82.19%  34.9 kB       79.3%" in said
    assert "largest rank that pays  46" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rank", "65"), "Rank 65 is above the maximum of 'model.layers.0.mlp.down_proj', 64"),
        (("--energy", "1.2"), "1.2 is no share from 0 to 1"),
        (("--share", "-0.1"), "-0.1 is no share from 0 to 1"),
    ],
)
def test_ranks_that_there_cannot_be(shell: Shell, words: tuple[str, str], said: str) -> None:
    found = shell.run("spectrum", SAMPLE, DOWN, *words)
    assert found.code != 0
    assert said in found.err


def test_inspect_for_people_is_aligned(shell: Shell) -> None:
    said = shell.run("inspect", SAMPLE)
    assert said.code == 0
    lines = said.out.splitlines()
    start = lines[0].index("role")
    assert all(line[start - 2 : start] == "  " for line in lines[1:48])
    assert "260,032 weights" in said.out
    assert "172 × 64" in said.out


@pytest.mark.parametrize("preset", ["int4-g128", "int8-channel", "magnitude-50"])
def test_plan_adds_up(shell: Shell, preset: str) -> None:
    planned = shell.json("plan", SAMPLE, "--preset", preset)
    seen = shell.json("inspect", SAMPLE)
    assert planned["bytes_before"] == seen["bytes"]
    assert planned["bytes_after"] == sum(layer["bytes_after"] for layer in planned["layers"])
    assert planned["bits_per_weight"] == pytest.approx(8 * planned["bytes_after"] / seen["parameters"])
    assert [layer["name"] for layer in planned["layers"]] == [layer["name"] for layer in seen["layers"]]
    for layer, before in zip(planned["layers"], seen["layers"], strict=True):
        assert layer["bits_per_weight"] == pytest.approx(8 * layer["bytes_after"] / prod(before["shape"]))
        assert (layer["treatment"] == "keep") == (layer["rule"] is None)
    assert isinstance(planned["warnings"], list)


def test_plan_says_what_an_export_changes(shell: Shell) -> None:
    words = ("plan", SAMPLE, "--preset", "int4-g32-asym-clip")
    packed = shell.json(*words)
    assert packed["export"]["target"] == "compressed-tensors"
    assert packed["export"]["bytes"] > packed["bytes_after"], "one bit more for each code"
    assert any("5-bit symmetric codes" in warning for warning in packed["warnings"])
    dense = shell.json(*words, "--to", "dense")
    assert dense["export"] == {"target": "dense", "bytes": dense["bytes_before"]}
    assert not any("5-bit" in warning for warning in dense["warnings"])
    assert "exported to compressed-tensors" in shell.run(*words).out
    refused = shell.json("plan", SAMPLE, "--preset", "magnitude-50", "--to", "compressed-tensors")
    assert any(warning.startswith("No layer of this run can be packed") for warning in refused["warnings"])


def test_plan_takes_a_recipe_file(shell: Shell, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "benchvise: 1\nrules:\n- targets: ['*.q_proj', nothing]\n"
        "  scheme: {method: integer, bits: 3, granularity: channel}\n"
    )
    planned = shell.json("plan", SAMPLE, "--recipe", recipe)
    assert sum(layer["treatment"] == "int3 channel" for layer in planned["layers"]) == 5
    assert planned["warnings"] == ["Rule 1: the target 'nothing' matches no layer."]
    said = shell.run("plan", SAMPLE, "--recipe", recipe)
    assert "5 layers treated, 42 kept" in said.out
    assert "warning: Rule 1" in said.out


def test_presets_start_recipes(shell: Shell, tmp_path: Path) -> None:
    listed = shell.json("presets")["presets"]
    assert {"int8-channel", "int4-g128", "magnitude-50"} <= {preset["name"] for preset in listed}
    own = tmp_path / "own.yaml"
    own.write_text(shell.run("presets", "int4-g128").out)
    by_file = shell.json("plan", SAMPLE, "--recipe", own)
    assert by_file["layers"] == shell.json("plan", SAMPLE, "--preset", "int4-g128")["layers"]


def test_methods_are_the_declarations(shell: Shell) -> None:
    data = shell.json("methods")
    integer = next(method for method in data["schemes"] if method["method"] == "integer")
    bits = next(setting for setting in integer["settings"] if setting["name"] == "bits")
    assert (bits["minimum"], bits["maximum"], bits["default"]) == (2, 8, 4)
    said = shell.run("methods").out
    assert "bits: integer from 2 to 8 bit (default 4)" in said
    assert "only with granularity group" in said
    assert "only with clip_search true and for schemes with a scale" in said
    assert {"schemes", "solvers", "transforms", "activations", "calibration", "surgeries", "tunings"} <= data.keys()
    assert "text: a file (.txt, .jsonl, .json) (default the shipped text)" in said
    assert [setting["name"] for setting in data["calibration"]["settings"]][:2] == ["text", "windows"]


def test_a_plan_says_what_calibration_text_it_reads(shell: Shell, tmp_path: Path) -> None:
    assert shell.json("plan", SAMPLE, "--preset", "int4-g128", "--text", "mine.txt")["calibration"] is None
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "benchvise: 1\ncalibration: {windows: 32}\nrules:\n- targets: [linears]\n"
        "  scheme: {method: integer, granularity: channel}\n"
        "  solver: {method: nearest, clip_search: true, importance: true}\n"
    )
    assert (
        "calibration: 32 samples of 256 tokens from the shipped text"
        in shell.run("plan", SAMPLE, "--recipe", recipe).out
    )
    planned = shell.json("plan", SAMPLE, "--recipe", recipe, "--text", "mine.txt")
    assert (planned["calibration"]["text"], planned["calibration"]["windows"]) == ("mine.txt", 32)


def test_histogram_is_exact(shell: Shell) -> None:
    seen = shell.json("histogram", SAMPLE, DOWN, "--bins", "32")
    weight = load_file(SAMPLE / "model.safetensors")[f"{DOWN}.weight"].astype(np.float64)
    edges = np.array(seen["edges"])
    assert len(edges) == 33
    assert (edges[0], edges[-1]) == (weight.min(), weight.max())
    assert seen["counts"] == np.histogram(weight, edges)[0].tolist()
    statistics = seen["statistics"]
    assert statistics["count"] == weight.size
    assert statistics["mean"] == pytest.approx(weight.mean(), abs=1e-12)
    assert statistics["std"] == pytest.approx(weight.std(), rel=1e-9)
    said = shell.run("histogram", SAMPLE, DOWN)
    assert said.code == 0
    assert "excess kurtosis" in said.out


@pytest.mark.parametrize("command", [["inspect", str(SAMPLE)], ["plan", str(SAMPLE), "--preset", "int4-g128"]])
def test_quick_commands_never_load_torch_or_qt(command: list[str]) -> None:
    code = (
        "import sys\n"
        "from benchvise.app.__main__ import main\n"
        f"assert main({[*command, '--json']!r}) == 0\n"
        "heavy = ('torch', 'transformers', 'triton', 'PySide6', 'pyqtgraph')\n"
        "print([name for name in sys.modules if name.split('.')[0] in heavy], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
