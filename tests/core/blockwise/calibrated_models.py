"""Tiny random models of `transformers` with the sample's tokenizer, saved as checkpoints, and recipes for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
VOCABULARY = 512
WEIGHTED = Nearest(clip_search=True, importance=True)

SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": False,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "opt": {
        "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 16,
        "max_position_embeddings": 128,
    },
    "gemma2": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "sliding_window": 16,
    },
}  # fmt: skip


def tiny(kind: str, folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, **settings: Any) -> Path:
    """A checkpoint folder. Weights are large enough that layers differ, norms are not all ones."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **(SETTINGS[kind] | settings))
    model: nn.Module = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(4) if parameter.dim() > 1 else parameter.add_(torch.rand_like(parameter) / 2)
            assert parameter.isfinite().all(), name
    model.to(dtype).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SAMPLE / name, folder)
    return folder


def plain_tensors(folder: Path) -> Path:
    """Two matrices and no config."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    save_file({f"{n}.weight": torch.randn(16, 32, generator=generator) for n in "ab"}, folder / "model.safetensors")
    return folder


def recipe(
    solver: Solver = WEIGHTED,
    targets: tuple[str, ...] = ("linears",),
    *,
    inputs: str = "compressed",
    windows: int = 6,
    window_tokens: int = 32,
    **more: Any,
) -> Recipe:
    treatment = Treatment(Integer(bits=3, group_size=8), solver)
    calibration = Calibration(windows=windows, window_tokens=window_tokens, inputs=inputs)  # type: ignore[arg-type]
    return Recipe((Rule(targets, treatment),), calibration=calibration, **more)
