"""A checkpoint that surgery cuts is looked at and measured as the folder that holds what the cut leaves."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchvise.core.analysis import look as look_room
from benchvise.core.analysis.look import look, look_channels, look_map
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.apply import treat
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Look, LookChannels, LookMap, MeasureSensitivity, WhatIf
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.sensitivity import measure as measure_room
from benchvise.core.sensitivity import what_if as what_if_room
from benchvise.core.sensitivity.measure import measure_sensitivity
from benchvise.core.sensitivity.what_if import forget_loaded, what_if
from benchvise.core.surgery.derived import Cut, Derived, cut_identity
from benchvise.core.weights.cut_weights import CutWeights
from benchvise.core.weights.weights import OriginalWeights, Weights

SILENT = NullProgress()
SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
INT4 = Treatment(Integer(bits=4, granularity="channel"))
GATE, DOWN = "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.down_proj"
CUT = "run:cut"
LEFT = tuple(range(0, 172, 2))
"""Of the MLP's hidden channels: every second one."""


def cuts_of(layer: Layer) -> tuple[Cut, ...]:
    """Rows of what goes into the MLP, columns of what comes out."""
    return (Cut(1 if layer.name == DOWN or "down_proj" in layer.name else 0, len(LEFT), LEFT),)


def cut_layer(layer: Layer) -> Layer:
    (cut,) = cuts_of(layer)
    shape = list(layer.shape)
    shape[cut.dimension] = cut.count
    nbytes = layer.nbytes * cut.count // layer.shape[cut.dimension]
    tensor = replace(layer.tensor, shape=tuple(shape), nbytes=nbytes, cut=cut_identity((cut,), "every second"))
    return replace(layer, tensor=tensor)


@pytest.fixture(scope="module")
def weights() -> CutWeights:
    source = open_checkpoint(SAMPLE)
    cuts = {layer.name: cuts_of(layer) for layer in source.layers if ".mlp." in layer.name}
    layers = tuple(cut_layer(layer) if layer.name in cuts else layer for layer in source.layers)
    left = replace(source, layers=layers, config=source.config | {"intermediate_size": len(LEFT)})
    return CutWeights(OriginalWeights(source), Derived(source, left, tuple(range(len(layers))), cuts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the surgery leaves, sliced by hand and saved: the oracle."""
    source, place = open_checkpoint(SAMPLE), tmp_path_factory.mktemp("cut")
    tensors = {layer.tensor.name: OriginalWeights(source).dense(layer) for layer in source.layers}
    for name, values in tensors.items():
        if ".mlp." in name:
            tensors[name] = (values[:, ::2] if "down_proj" in name else values[::2]).contiguous()
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    for file in SAMPLE.iterdir():
        if file.is_file() and "safetensors" not in file.name:
            (place / file.name).write_bytes(file.read_bytes())
    config = json.loads((SAMPLE / "config.json").read_text("utf-8"))
    (place / "config.json").write_text(json.dumps(config | {"intermediate_size": len(LEFT)}), "utf-8")
    return str(place)


@pytest.fixture(autouse=True)
def opened(weights: CutWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    def opens(source: str, _: str = "") -> Weights:
        return weights if source == CUT else OriginalWeights(open_checkpoint(source))

    for room in (look_room, measure_room, what_if_room):
        monkeypatch.setattr(room, "open_weights", opens)


@pytest.mark.parametrize("name", [GATE, DOWN, "model.layers.0.input_layernorm"])
def test_what_is_seen_of_a_layer_is_what_the_cut_leaves(folder: str, name: str) -> None:
    after = INT4 if ".mlp." in name else None
    found: list[list[dict[str, object]]] = []
    for path in (CUT, folder):
        seen = look(Look(path, name, 20, after=after), SILENT)
        mapped = look_map(LookMap(path, name, after=after), SILENT)
        channels = look_channels(LookChannels(path, name), SILENT)
        found.append([asdict(each) for each in (seen, mapped, channels)])
    np.testing.assert_equal(found[0], found[1])


def test_a_treatment_is_tried_on_the_rows_that_are_left(weights: CutWeights, folder: str) -> None:
    saved = OriginalWeights(open_checkpoint(folder))
    for name in (GATE, DOWN):
        ours = treat(weights.checkpoint.layer(name), INT4, weights, SILENT)
        theirs = treat(saved.checkpoint.layer(name), INT4, saved, SILENT)
        assert torch.equal(ours.weight, theirs.weight)
        assert np.isclose(ours.quality.sqnr_db, theirs.quality.sqnr_db)


def test_what_if_and_sensitivity_run_the_network_that_is_left(folder: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The pump hums while the valve is open. " * 80, "utf-8")
    answers, cells = [], []
    for number, path in enumerate((CUT, folder)):
        forget_loaded(SILENT)
        space = str(tmp_path / str(number))
        answers.append(what_if(WhatIf(path, DOWN, INT4, str(text), 1, 32, space), SILENT))
        asked = MeasureSensitivity(path, str(text), (INT4,), (GATE,), windows=1, window_tokens=32, workspace=space)
        cells.append(measure_sensitivity(asked, SILENT).cells)
    forget_loaded(SILENT)
    assert answers[0].kl is not None
    assert replace(answers[0], seconds=0.0) == replace(answers[1], seconds=0.0)
    assert cells[0][0].kl > 0
    assert cells[0] == cells[1]
