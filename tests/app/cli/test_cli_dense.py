"""`compress --dense --text`: a second folder that every judge can load, made from calibration text of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchvise.core.weights.open import open_weights
from tests.app.cli.cli_runs import SAMPLE, Shell


def test_a_dense_folder_lies_beside_the_packed_one(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = shell.json("compress", SAMPLE, "--preset", "int8-channel", "--out", f"{out}/", "--dense")
    assert (Path(run["out"]), Path(run["dense"])) == (out, tmp_path / "out-dense")
    assert run["target"] == "compressed-tensors"
    dense = load_file(tmp_path / "out-dense" / "model.safetensors")
    weights = open_weights(str(out))
    for layer in weights.checkpoint.layers:
        assert torch.equal(dense[layer.tensor.name], weights.dense(layer))
    assert "quantization_config" not in json.loads((tmp_path / "out-dense" / "config.json").read_text())
    exports = shell.json("runs")["runs"][0]["exports"]
    assert [Path(path) for path in exports] == [out, tmp_path / "out-dense"]


def test_what_is_dense_anyhow_is_not_written_twice(shell: Shell, tmp_path: Path) -> None:
    run = shell.json("compress", SAMPLE, "--preset", "magnitude-50", "--out", tmp_path / "out", "--dense")
    assert run["dense"] == run["out"]
    assert not (tmp_path / "out-dense").exists()


def test_both_folders_are_looked_at_before_anything_is_computed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "out-dense").mkdir()
    (tmp_path / "out-dense" / "mine").touch()
    words = ("compress", SAMPLE, "--preset", "int8-channel", "--out", tmp_path / "out", "--dense")
    assert "not empty" in shell.error(4, *words)["what"]
    assert not (tmp_path / "out").exists()
    assert shell.json("runs")["runs"] == []


def test_people_are_told_where_it_lies(shell: Shell, tmp_path: Path) -> None:
    said = shell.run("compress", SAMPLE, "--preset", "int8-channel", "--out", tmp_path / "out", "--dense")
    assert f"written to {tmp_path / 'out-dense'} (dense)" in said.out


def test_text_goes_into_the_recipe(shell: Shell, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("Once upon a time there was a calibration text.\n" * 50)
    out = tmp_path / "out"
    shell.json("compress", SAMPLE, "--preset", "int8-channel", "--text", text, "--out", out)
    recipe = (out / "benchvise" / "recipe.yaml").read_text()
    assert "mine.txt" in recipe
    assert str(tmp_path) not in recipe  # folders of this machine go nowhere
