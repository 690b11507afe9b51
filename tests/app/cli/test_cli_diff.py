"""`benchvise diff`: numpy on the files themselves is the oracle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.app.cli.cli_runs import SAMPLE, Shell

DOWN, UP = "model.layers.0.mlp.down_proj", "model.layers.0.mlp.up_proj"


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The sample with one layer changed, one in float16, one gone and one more."""
    tensors = load_file(SAMPLE / "model.safetensors")
    tensors[f"{DOWN}.weight"] = tensors[f"{DOWN}.weight"] * np.float32(1.5)
    tensors[f"{UP}.weight"] = tensors[f"{UP}.weight"].astype(np.float16)
    del tensors["model.norm.weight"]
    tensors["extra.weight"] = np.zeros((2, 2), np.float32)
    shutil.copy(SAMPLE / "config.json", tmp_path / "config.json")
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def test_layers_side_by_side(shell: Shell, changed: Path) -> None:
    seen = shell.json("diff", SAMPLE, changed)
    layers = {layer["name"]: layer for layer in seen["layers"]}
    half = load_file(SAMPLE / "model.safetensors")[f"{UP}.weight"].astype(np.float64)
    lost = np.linalg.norm(half.astype(np.float16) - half) / np.linalg.norm(half)
    assert layers[DOWN]["relative_difference"] == pytest.approx(0.5)
    assert layers[UP]["relative_difference"] == pytest.approx(lost)
    assert (layers[UP]["bits_a"], layers[UP]["bits_b"]) == (32, 16)
    assert {name for name, layer in layers.items() if layer["changed"]} == {DOWN, UP, "model.norm", "extra"}
    assert (layers["extra"]["bits_a"], layers["extra"]["bits_b"]) == (None, 32)
    assert all(layer["relative_difference"] == 0 for layer in layers.values() if not layer["changed"])


def test_the_histogram_of_a_difference(shell: Shell, changed: Path) -> None:
    seen = shell.json("diff", SAMPLE, changed, "--layer", DOWN, "--bins", 8)["histogram"]
    before = load_file(SAMPLE / "model.safetensors")[f"{DOWN}.weight"]
    counts, edges = np.histogram((before * np.float32(1.5) - before).astype(np.float64), 8)
    assert seen["counts"] == counts.tolist()
    assert seen["edges"] == pytest.approx(edges.tolist())


def test_for_people_and_in_refusals(shell: Shell, changed: Path) -> None:
    said = shell.run("diff", SAMPLE, changed)
    assert "4 of" in said.out
    assert "layers differ" in said.out
    assert shell.run("diff", SAMPLE, changed, "--layer", "model.norm").code == 3
    assert shell.run("diff", SAMPLE, changed / "nothing").code == 3
