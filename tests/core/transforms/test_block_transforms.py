"""Smoothing and scaling on every layout: the same function, and a table of what each layout allows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.sparse import Sparse
from benchvise.core.methods.transform import Transform
from benchvise.core.transforms.random_copy import run_block
from benchvise.core.transforms.registry import rewrite_of
from benchvise.core.transforms.scale import ScaleBlock
from benchvise.core.transforms.smooth import SmoothBlock
from benchvise.core.transforms.transform import TreatedSchemes
from tests.core.transforms.layouts import LAYOUTS, difference, outputs
from tests.core.transforms.test_coupling import FEEDS

EIGHT = Integer(bits=8, granularity="channel")
THREE = Integer(bits=3, granularity="channel")


def treated(block: nn.Module, scheme: Any, activations: Activations | None) -> TreatedSchemes:
    return {name: (scheme, activations) for name, parameter in block.named_parameters() if parameter.dim() == 2}


def recorded(model: nn.Module, block: nn.Module) -> Callable[[], None]:
    """Runs the block as the model does on the reference inputs."""
    calls: list[tuple[tuple[Any, ...], Mapping[str, Any]]] = []
    hook = block.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    outputs(model)
    hook.remove()

    def run() -> None:
        for args, kwargs in calls:
            run_block(block, args[0], args, kwargs)

    return run


def plant_channels(model: nn.Module) -> None:
    """Two channels of every layer's input matter far more than the others."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and "norm" in name.lower() and "bias" not in name:
            parameter[:2] *= 20


def channel_scaled(
    name: str, transform: Transform, activations: Activations | None, scheme: Any
) -> tuple[nn.Module, list[str]]:
    """The layout's model with outlier channels after the transform, and all notes."""
    model = LAYOUTS[name].model()
    plant_channels(model)
    arithmetic = rewrite_of(transform)(transform)
    notes: list[str] = []
    for block in LAYOUTS[name].blocks_of(model):
        notes += arithmetic.apply(block, recorded(model, block), treated(block, scheme, activations))
    return model, notes


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    ("transform", "activations", "scheme"), [(Smooth(), Activations(), EIGHT), (Scale(steps=4), None, THREE)], ids=str
)
def test_the_function_is_kept_and_every_source_answered_for(
    name: str, transform: Transform, activations: Activations | None, scheme: Integer
) -> None:
    original = LAYOUTS[name].model()
    plant_channels(original)
    model, notes = channel_scaled(name, transform, activations, scheme)
    assert difference(outputs(model), outputs(original)) < 1e-4
    sources = {group.split(" > ")[0] for group in FEEDS[name]}
    told = {note.split(" → ")[0] for note in notes if " → " in note}
    assert told == sources
    assert not any("undone" in note or "cannot" in note for note in notes)
    if any("norm" in source or source.startswith("ln_") for source in sources):
        assert any("rounding error -" in note for note in notes)


def test_scaled_gains_need_no_more_than_eight_bits() -> None:
    for name in ("llama", "gemma"):
        model, _ = channel_scaled(name, Scale(steps=4), None, THREE)
        original = LAYOUTS[name].model()
        plant_channels(original)
        norms = [part for part in original.state_dict() if part.endswith("layernorm.weight")]
        moved = 0
        for part in norms:
            before, after = original.get_parameter(part), model.get_parameter(part)
            different = before != after
            moved += int(different.sum())
            stored = after[different].bfloat16().float()
            assert torch.allclose(after[different], stored, rtol=1e-6, atol=1e-6)
        assert moved


def test_a_constant_input_size_leaves_nothing_to_gain() -> None:
    """On a grid that a power of two does not change and equal inputs, no scaling pays, and it is said."""
    model = LAYOUTS["llama"].model()
    for part, parameter in model.named_parameters():
        if "norm" in part:
            parameter.fill_(1)
    block = LAYOUTS["llama"].blocks_of(model)[0]
    before = copy.deepcopy(block)
    fine = Integer(bits=8, granularity="group", group_size=2)
    notes = SmoothBlock(Smooth(alpha=1.0)).apply(block, recorded(model, block), treated(block, fine, None))
    assert any("left as it is, no factors lower the rounding error by 1 %" in note for note in notes)
    unmoved = [note.split(" → ")[0] for note in notes if "left as it is" in note and "layernorm" in note]
    for source in unmoved:
        assert torch.equal(block.get_submodule(source).weight, before.get_submodule(source).weight)


def test_what_is_not_treated_is_not_scaled() -> None:
    model = LAYOUTS["llama"].model()
    block = LAYOUTS["llama"].blocks_of(model)[0]
    before = copy.deepcopy(block)
    only = {"self_attn.o_proj.weight": (THREE, None)}
    notes = ScaleBlock(Scale(steps=4)).apply(block, recorded(model, block), only)
    assert [note.split(" → ")[0] for note in notes] == ["self_attn.v_proj"]
    for part, parameter in block.named_parameters():
        if "v_proj" not in part and "o_proj" not in part:
            assert torch.equal(parameter, before.get_parameter(part))


def test_a_scheme_without_a_grid_is_told() -> None:
    model = LAYOUTS["llama"].model()
    block = LAYOUTS["llama"].blocks_of(model)[0]
    notes = ScaleBlock(Scale(steps=4)).apply(
        block, recorded(model, block), treated(block, Sparse(scope="global"), None)
    )
    assert notes
    assert all("the rounding of sparse cannot be judged ahead" in note for note in notes)


class _Fickle(nn.Module):
    """Computes something else once a great gain has gone, which no random copy shows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.up = nn.Linear(16, 16)

    def forward(self, hidden: Tensor) -> Tensor:
        given: Tensor = self.up(self.norm(hidden))
        return hidden + given * (2 if float(self.norm.weight.max()) < 25 else 1)


def test_a_block_that_does_not_keep_its_output_is_put_back() -> None:
    torch.manual_seed(0)
    block = _Fickle().requires_grad_(False)
    block.norm.weight.fill_(1)
    block.norm.weight[0] = 30
    before = copy.deepcopy(block)
    hidden = torch.randn(2, 40, 16)
    notes = SmoothBlock(Smooth()).apply(block, lambda: _called(block, hidden), treated(block, EIGHT, Activations()))
    assert len(notes) == 1
    assert "undone, the block's output changed" in notes[0]
    for parameter, old in zip(block.parameters(), before.parameters(), strict=True):
        assert torch.equal(parameter, old)


def test_a_block_that_no_input_reaches_is_told() -> None:
    block = _Fickle().requires_grad_(False)
    notes = ScaleBlock(Scale()).apply(block, lambda: None, treated(block, THREE, None))
    assert notes == ("nothing is scaled: no calibration input reached the block",)


def _called(block: nn.Module, hidden: Tensor) -> None:
    block(hidden)
