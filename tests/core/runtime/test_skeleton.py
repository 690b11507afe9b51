"""The model without its linear layers still decodes, with all else in place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.runtime import skeleton as room
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.decode import decode, random_prompt
from benchvise.core.runtime.linear_layers import linear_modules, running_dtype
from benchvise.core.runtime.skeleton import skeleton
from tests.core.runtime.tiny_models import save_tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "opt", "qwen3", "gemma2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decodes_without_linear_layers(tmp_path: Path, model_type: str, dtype: torch.dtype) -> None:
    architecture = architecture_of(open_checkpoint(save_tiny(model_type, tmp_path, tied=True)))
    model = skeleton(architecture, dtype, CPU)
    assert not any(type(module) in (nn.Linear, nn.Embedding) for module in model.modules())
    assert decode(model, random_prompt(2, 8, CPU), 4).step_ms > 0


def test_large_weights_outside_linear_layers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_LEFT_BYTES", 1000)
    architecture = architecture_of(open_checkpoint(save_tiny("mixtral", tmp_path)))
    with pytest.raises(CheckpointError, match="outside linear layers"):
        skeleton(architecture, torch.float32, CPU)


@pytest.mark.parametrize("tied", [False, True])
def test_places_know_their_layers(tmp_path: Path, tied: bool) -> None:
    checkpoint = open_checkpoint(save_tiny("llama", tmp_path, tied=tied))
    places = linear_modules(architecture_of(checkpoint).on_meta(), checkpoint)
    assert len(places) == 3 * 7 + 1
    by_path = {place.path: place for place in places}
    down = by_path["model.layers.1.mlp.down_proj"]
    assert (down.rows, down.columns) == (32, 48)
    assert down.layer == checkpoint.layer("model.layers.1.mlp.down_proj")
    assert (by_path["lm_head"].layer is None) == tied


def test_transposed_layers_are_seen_as_rows_of_outputs(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save_tiny("gpt2", tmp_path, tied=True))
    places = {p.path: p for p in linear_modules(architecture_of(checkpoint).on_meta(), checkpoint)}
    fused = places["transformer.h.0.attn.c_attn"]
    assert fused.layer is not None
    assert (fused.rows, fused.columns) == (96, 32) == fused.layer.matrix_shape


@pytest.mark.parametrize(
    ("stored", "runs"),
    [
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.bfloat16),
        (torch.float64, torch.float32),
    ],
)
def test_models_run_as_they_are_stored(tmp_path: Path, stored: torch.dtype, runs: torch.dtype) -> None:
    assert running_dtype(open_checkpoint(save_tiny("llama", tmp_path, dtype=stored)), CPU) == runs
