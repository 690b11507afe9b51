"""On a trained model with planted outlier channels, the same function, transforms win back what planting cost."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchvise.core.activations.quantise import quantised
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.transform import Transform
from benchvise.core.transforms.registry import rewrite_of
from benchvise.core.transforms.rounding import nearest

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
EIGHT = (Integer(bits=8, granularity="channel"), Activations())
FOUR = (Integer(bits=4, granularity="channel"), None)


@lru_cache(maxsize=2)
def ids(name: str) -> Tensor:
    tokenizer = AutoTokenizer.from_pretrained(SAMPLE)
    found: Tensor = tokenizer((SAMPLE / name).read_text(), return_tensors="pt")["input_ids"][0]
    return found[: 8 * 128].view(8, 128)


@lru_cache(maxsize=1)
def trained() -> nn.Module:
    """The sample model with a head of its own, as a tied one keeps the residual stream from being turned."""
    model: nn.Module = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32).eval().requires_grad_(False)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    return model


def planted() -> nn.Module:
    twin = copy.deepcopy(trained())
    for block in twin.model.layers:
        attention, mlp = block.self_attn, block.mlp
        for norm, readers in (
            (block.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
            (block.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
        ):
            norm.weight[[5, 40]] *= 30
            for reader in readers:
                reader.weight[:, [5, 40]] /= 30
    return twin


@torch.no_grad()
def logits(model: nn.Module, tokens: Tensor) -> Tensor:
    found: Tensor = model(tokens).logits
    return found


@torch.no_grad()
def transformed(model: nn.Module, transform: Transform, scheme: Integer, activations: Activations | None) -> nn.Module:
    model = copy.deepcopy(model)
    blocks = list(model.model.layers)
    if transform.reach == "network":
        network = rewrite_of(transform)(transform, model, blocks, 1)
        network.embedding_and_head(model)
        for index, block in enumerate(blocks):
            network.block(block, index)
        return model
    balance = rewrite_of(transform)(transform)
    for block in blocks:
        names = {name: (scheme, activations) for name, p in block.named_parameters() if p.dim() == 2}
        args, kwargs = first_call(model, block)
        balance.apply(block, lambda block=block, args=args, kwargs=kwargs: _run(block, args, kwargs), names)
    return model


def first_call(model: nn.Module, block: nn.Module) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    calls: list[tuple[tuple[Any, ...], Mapping[str, Any]]] = []
    hook = block.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    model(ids("calibration.txt"), use_cache=False)
    hook.remove()
    return calls[0]


def _run(block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    block(*args, **kwargs)


@torch.no_grad()
def divergence(model: nn.Module, scheme: Integer, activations: Activations | None) -> float:
    """KL from the trained model once the blocks' linear layers are rounded."""
    model = copy.deepcopy(model)
    for block in model.model.layers:
        for module in block.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(nearest(scheme, module.weight.data))
                if activations is not None:
                    module.register_forward_pre_hook(lambda _, inputs: (quantised(activations, inputs[0]),))
    original = logits(trained(), ids("evaluation.txt")).log_softmax(-1)
    return float((original.exp() * (original - logits(model, ids("evaluation.txt")).log_softmax(-1))).sum(-1).mean())


@pytest.mark.parametrize(
    ("transform", "treatment"),
    [(Smooth(), EIGHT), (Scale(), FOUR), (Rotate(), FOUR), (Rotate(), EIGHT)],
    ids=["smooth W8A8", "scale int4", "rotate int4", "rotate W8A8"],
)
def test_most_of_what_planting_cost_is_won_back(
    transform: Transform, treatment: tuple[Integer, Activations | None]
) -> None:
    twin = planted()
    tokens = ids("evaluation.txt")
    assert torch.allclose(logits(twin, tokens), logits(trained(), tokens), atol=1e-3)
    plain, hurt = divergence(trained(), *treatment), divergence(twin, *treatment)
    won = divergence(transformed(twin, transform, *treatment), *treatment)
    assert hurt > 1.5 * plain
    assert hurt - won >= 0.8 * (hurt - plain)
