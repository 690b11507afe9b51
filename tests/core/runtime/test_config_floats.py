"""Configs as transformers 5 writes them: infinite floats, and no word about the class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig, Mamba2Config

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.runtime.architecture import architecture_of
from tests.core.checkpoint.checkpoint_samples import two_tensors


def test_an_infinite_float_is_read_back(tmp_path: Path) -> None:
    small = {"num_heads": 8, "head_dim": 16, "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 32}
    Mamba2Config(**small, time_step_limit=(0.0, float("inf"))).save_pretrained(tmp_path)
    two_tensors(tmp_path / "model.safetensors")
    config = architecture_of(open_checkpoint(tmp_path)).config
    assert tuple(config.time_step_limit) == tuple(AutoConfig.from_pretrained(tmp_path).time_step_limit)
    assert config.time_step_limit[1] == float("inf")


@pytest.mark.parametrize("config", [{"model_type": "llama"}, {"model_type": "llama", "architectures": []}])
def test_the_model_type_stands_for_the_class(tmp_path: Path, config: dict[str, object]) -> None:
    two_tensors(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    checkpoint: Checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.architecture == "llama"
    assert architecture_of(checkpoint).model_class.__name__ == "LlamaForCausalLM"
