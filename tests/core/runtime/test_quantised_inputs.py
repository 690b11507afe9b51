"""Models whose layers round their inputs; the compressed-tensors library rounds them in the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp
from torch import nn

from benchvise.core.errors import CheckpointError
from benchvise.core.job.job import compress
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.quantised_inputs import quantiser_of
from benchvise.core.runtime.running import load_running
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import RunWeights, Weights
from tests.core.runtime.static_runs import static_weights
from tests.core.runtime.tiny_models import save_tiny

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
INT8 = Integer(8, granularity="channel")
IDS = (torch.arange(60).reshape(2, 30) * 13) % 512
CPU = torch.device("cpu")


def recipe(activations: Activations | None, *targets: str) -> Recipe:
    return Recipe((Rule(targets or ("linears",), Treatment(INT8, activations=activations)),))


def run(path: Path, made: Recipe, workspace: Path) -> Weights:
    result = compress(Compress(str(path), made, str(workspace)), NullProgress())
    return open_weights(f"run:{result.run}", str(workspace))


def logits(model: nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(ids, use_cache=False).logits
    return found


def with_library_inputs(model: nn.Module, settings: Activations, scale: float) -> nn.Module:
    """Every linear layer but the head gets its inputs from the library's fake quantisation."""
    dynamic = settings.mode == "dynamic"
    args = QuantizationArgs(
        num_bits=8,
        type="int" if settings.format == "int8" else "float",
        strategy="token" if dynamic else "tensor",
        dynamic=dynamic,
    )

    def rounded(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = inputs[0]
        step, zero = torch.tensor([scale]), torch.zeros(1)
        if dynamic:
            step, zero = compute_dynamic_scales_and_zp(x, args, nn.Module())
        return (fake_quantize(x, step, zero, args),)

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name != "lm_head":
            module.register_forward_pre_hook(rounded)
    return model


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_a_run_computes_with_rounded_inputs(tmp_path: Path, form: str) -> None:
    settings = Activations(form)  # type: ignore[arg-type]
    ours = logits(load_model(run(SAMPLE, recipe(settings), tmp_path)))
    plain = run(SAMPLE, recipe(None), tmp_path)
    assert torch.equal(ours, logits(with_library_inputs(load_model(plain), settings, 0.0)))
    assert not torch.equal(ours, logits(load_model(plain)))


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_fixed_scales_come_from_the_layers_record(tmp_path: Path, form: str) -> None:
    settings = Activations(form, "static")  # type: ignore[arg-type]
    weights = static_weights(SAMPLE, recipe(settings), tmp_path, 0.031)
    plain = RunWeights("plain", weights.original, {n: Treatment(INT8) for n in weights._files}, weights._files)
    expected = logits(with_library_inputs(load_model(plain), settings, 0.031))
    assert torch.equal(logits(load_model(weights)), expected)


def test_a_lost_scale_is_named(tmp_path: Path) -> None:
    static = Treatment(INT8, activations=Activations(mode="static"))
    weights = static_weights(SAMPLE, recipe(None), tmp_path, 0.0)
    broken = RunWeights("broken", weights.original, dict.fromkeys(weights._files, static), weights._files)
    layer = weights.checkpoint.layer("model.layers.0.mlp.up_proj")
    with pytest.raises(CheckpointError, match=r"fixed scale .*layers\.0\.mlp\.up_proj") as caught:
        quantiser_of(broken, layer, CPU)
    assert caught.value.remedy


def test_gpt2s_turned_layers_round_their_inputs_too(tmp_path: Path) -> None:
    checkpoint = save_tiny("gpt2", tmp_path / "gpt2")
    ids = IDS % 61
    rounded = load_model(run(checkpoint, recipe(Activations("fp8")), tmp_path / "w"))
    plain = load_model(run(checkpoint, recipe(None), tmp_path / "w"))
    assert not torch.equal(logits(rounded, ids), logits(plain, ids))
    hooked = [name for name, module in rounded.named_modules() if module._forward_pre_hooks]
    assert len(hooked) == 3 * 4


def test_compressed_layers_on_their_kernels_round_them_as_well(tmp_path: Path) -> None:
    weights = run(SAMPLE, recipe(Activations()), tmp_path)
    running = load_running(weights, CPU, NullProgress())
    ours, theirs = logits(running.model), logits(load_model(weights))
    assert (ours - theirs).norm() / theirs.norm() < 0.02
    assert sum(len(module._forward_pre_hooks) for module in running.model.modules()) == 35
    assert "35 × inputs rounded" in running.fallbacks[-1]
