"""Models built from weights compute exactly what `transformers` computes from the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import Cancelled, CheckpointError
from benchvise.core.progress import NullProgress
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.weights import OriginalWeights
from tests.core.runtime.tiny_models import ARCHITECTURES, save_tiny

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"


@torch.inference_mode()
def logits(model: torch.nn.Module, tokens: int = 40) -> Tensor:
    found: Tensor = model((torch.arange(2 * tokens).reshape(2, tokens) * 7) % 61).logits
    return found


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_all_logits_are_those_of_transformers(tmp_path: Path, model_type: str, tied: bool) -> None:
    save_tiny(model_type, tmp_path, tied=tied)
    ours = load_model(OriginalWeights(open_checkpoint(tmp_path)))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    # Weights that lie elsewhere in memory may be multiplied in another order, so the last bits are free.
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))
    assert not ours.training
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_low_precision_checkpoints_run_in_float32(tmp_path: Path) -> None:
    save_tiny("llama", tmp_path, dtype=torch.bfloat16)
    ours = load_model(OriginalWeights(open_checkpoint(tmp_path)))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert torch.equal(logits(ours), logits(theirs))


def test_names_without_the_base_models_prefix_are_understood(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_tiny("gpt2", tmp_path, tied=True)
    expected = logits(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32))
    state = load_file(tmp_path / "model.safetensors")
    save_file({name.removeprefix("transformer."): t for name, t in state.items()}, tmp_path / "model.safetensors")
    assert torch.equal(logits(load_model(OriginalWeights(open_checkpoint(tmp_path)))), expected)


def test_a_single_file_uses_the_config_beside_it() -> None:
    model = load_model(OriginalWeights(open_checkpoint(SAMPLE / "model.safetensors")))
    assert torch.equal(logits(model), logits(AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32)))


def _edited(tmp_path: Path, **changes: object) -> Path:
    save_tiny("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "lama"}, "'lama' is not known"),
        ({"hidden_size": "many"}, "config.json does not describe"),
        ({"num_hidden_layers": 5}, "needs tensors that the checkpoint does not have"),
        ({"intermediate_size": 64}, "do not fit the architecture"),
    ],
)
def test_configs_that_do_not_fit_are_told(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    checkpoint = open_checkpoint(_edited(tmp_path, **changes))
    with pytest.raises(CheckpointError, match=says) as caught:
        load_model(OriginalWeights(checkpoint))
    assert caught.value.remedy


def test_plain_tensors_cannot_be_evaluated(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((SAMPLE / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="Plain tensors cannot be evaluated"):
        architecture_of(open_checkpoint(tmp_path))


def test_code_and_kernels_named_in_the_config_are_not_fetched(tmp_path: Path) -> None:
    folder = _edited(tmp_path, auto_map={"AutoModelForCausalLM": "code.Model"}, attn_implementation="somebody/kernels")
    (folder / "code.py").write_text("raise SystemExit('code of the checkpoint was run')")
    assert logits(load_model(OriginalWeights(open_checkpoint(folder)))).isfinite().all()


class _Unreadable(OriginalWeights):
    def dense(self, layer: Layer) -> Tensor:
        if "layers.1" in layer.name:
            raise CheckpointError("The file ends", where=layer.name)
        return super().dense(layer)


def test_errors_while_reading_come_through() -> None:
    with pytest.raises(CheckpointError, match="The file ends"):
        load_model(_Unreadable(open_checkpoint(SAMPLE)))


class _CancelledProgress(NullProgress):
    def check_cancelled(self) -> None:
        raise Cancelled


def test_loading_can_be_cancelled() -> None:
    with pytest.raises(Cancelled):
        load_model(OriginalWeights(open_checkpoint(SAMPLE)), progress=_CancelledProgress())
