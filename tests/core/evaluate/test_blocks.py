"""Taking the pass up at a block gives the logits of the whole pass, for every architecture where it is used at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.evaluate import blocks as room
from benchvise.core.evaluate.blocks import capture, find_blocks, first_affected, resumable, resume
from benchvise.core.evaluate.forward import logits_of
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.replace import holder_name, read_weight, replaced_weight
from benchvise.core.weights.weights import OriginalWeights
from tests.core.runtime.tiny_models import ARCHITECTURES, save_tiny

IDS = (torch.arange(60).reshape(2, 30) * 11) % 61


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_changed_layers_are_felt_from_their_block_on(tmp_path: Path, model_type: str, tied: bool) -> None:
    checkpoint = open_checkpoint(save_tiny(model_type, tmp_path, tied=tied))
    model = load_model(OriginalWeights(checkpoint))
    blocks = find_blocks(model)
    assert blocks is not None
    assert len(blocks.modules) == 3
    captured, logits = capture(model, blocks, IDS, 0)
    assert torch.equal(logits, logits_of(model, IDS))
    assert resumable(model, blocks, captured, logits)
    for layer in checkpoint.layers:
        if holder_name(model, layer) is None or not layer.compressible:
            continue
        weight = read_weight(model, layer) * 1.5
        start = first_affected(model, blocks, layer)
        with replaced_weight(model, layer, weight):
            assert torch.equal(resume(model, blocks, captured, start), logits_of(model, IDS)), layer.name
    assert torch.equal(logits_of(model, IDS), logits)


def test_places_of_layers(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save_tiny("llama", tmp_path))
    model = load_model(OriginalWeights(checkpoint))
    blocks = find_blocks(model)
    assert blocks is not None
    assert blocks.path == "model.layers"
    places = {
        "model.embed_tokens": 0,
        "model.layers.0.mlp.up_proj": 0,
        "model.layers.2.mlp.up_proj": 2,
        "lm_head": 3,
    }
    assert {name: first_affected(model, blocks, checkpoint.layer(name)) for name in places} == places


def test_few_kept_outputs_start_at_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CAPTURE_BYTES", 2 * 1000)
    model = load_model(OriginalWeights(open_checkpoint(save_tiny("llama", tmp_path))))
    blocks = find_blocks(model)
    assert blocks is not None
    captured, logits = capture(model, blocks, IDS, 1000)
    assert [output is None for output in captured.outputs] == [True, False, False]
    assert [captured.nearest(start) for start in range(4)] == [0, 0, 2, 3]
    assert all(torch.equal(resume(model, blocks, captured, start), logits) for start in range(4))


class Carrying(torch.nn.Module):
    """A block that leaves something behind for the next one, beside what it returns."""

    left_behind: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(32, 32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        previous = Carrying.left_behind
        Carrying.left_behind = self.linear(hidden)
        return hidden + previous


def test_models_with_hidden_ways_between_blocks_are_noticed(tmp_path: Path) -> None:
    model = load_model(OriginalWeights(open_checkpoint(save_tiny("llama", tmp_path))))

    def forward(ids: torch.Tensor, **_: object) -> object:
        Carrying.left_behind = torch.zeros(())
        hidden = model.model.embed_tokens(ids)
        for block in model.model.layers:
            hidden = block(hidden)
        return type("Output", (), {"logits": model.lm_head(hidden)})

    model.model.layers = torch.nn.ModuleList(Carrying() for _ in range(3))
    model.forward = forward
    blocks = find_blocks(model)
    assert blocks is not None
    captured, logits = capture(model, blocks, IDS, 0)
    assert not resumable(model, blocks, captured, logits)
