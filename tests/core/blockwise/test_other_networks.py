"""Encoders, encoder–decoders, vision and sound: calibrated on what they read, judged by their outputs."""

from __future__ import annotations

import json
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file

import benchvise
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.evaluate.inputs import inputs_of
from benchvise.core.runtime.architecture import architecture_of, language_model_of
from benchvise.core.runtime.tokenizer import tokens_of

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 64,
}  # fmt: skip
VISION = {**SMALL, "image_size": 16, "patch_size": 4}
NETWORKS = {
    "BertModel": transformers.BertConfig(**SMALL, max_position_embeddings=64),
    "T5ForConditionalGeneration": transformers.T5Config(
        vocab_size=64, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0
    ),
    "T5EncoderModel": transformers.T5Config(vocab_size=64, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2),
    "ViTModel": transformers.ViTConfig(**VISION),
    "SwinModel": transformers.SwinConfig(
        image_size=16, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4
    ),
}
LOGITS = ("T5ForConditionalGeneration",)


def recipe(solver: str, text: Path | str = "") -> dict[str, object]:
    return {
        "benchvise": 1,
        "calibration": {"text": str(text), "windows": 16, "window_tokens": 32},
        "rules": [{
            "targets": ["linears"],
            "scheme": {"method": "integer", "bits": 3, "granularity": "channel"},
            "solver": {"method": solver},
        }],
    }  # fmt: skip


def save(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    model = getattr(transformers, name)(NETWORKS[name])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    draw = np.random.default_rng(1)
    pixels = draw.standard_normal((16, 3, 16, 16)).astype(np.float32)
    given = {"pixel_values": pixels} if model.main_input_name == "pixel_values" else {
        "input_ids": draw.integers(0, 64, (16, 32))
    }  # fmt: skip
    np.savez(folder.parent / "given.npz", **given)
    return folder


def outputs(name: str, folder: Path, given: Path) -> torch.Tensor:
    """What transformers computes, without the workbench."""
    model = getattr(transformers, name).from_pretrained(folder).eval()
    arrays = {key: torch.from_numpy(values) for key, values in np.load(given).items()}
    if name in LOGITS:
        arrays["decoder_input_ids"] = arrays["input_ids"]
    with torch.no_grad():
        found = model(**arrays)
    return found.logits if name in LOGITS else found.last_hidden_state


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_predict_no_tokens_are_calibrated_and_judged(name: str, tmp_path: Path) -> None:
    source, given = save(name, tmp_path / "m"), tmp_path / "given.npz"
    wanted = outputs(name, source, given)
    errors = {}
    for solver in ("nearest", "error_feedback"):
        out = tmp_path / solver
        run = benchvise.compress(source, recipe(solver, given), out=out, to="dense", workspace=tmp_path / "ws")
        assert not any("weights alone" in note for layer in run.layers for note in layer.notes)
        found = outputs(name, out, given)
        errors[solver] = float((found - wanted).norm() / wanted.norm())
        judged = benchvise.evaluate(out, against=source, text=given, workspace=tmp_path / "ws")
        cosine = torch.cosine_similarity(found.flatten(0, -2), wanted.flatten(0, -2), dim=-1).mean()
        assert judged.relative_error == pytest.approx(errors[solver], rel=1e-3)
        assert judged.cosine == pytest.approx(float(cosine), abs=1e-5)
        assert (judged.perplexity, judged.kl_mean is not None) == (None, name in LOGITS)
    assert errors["error_feedback"] < 0.95 * errors["nearest"]


def test_what_a_network_does_not_read_is_refused(tmp_path: Path) -> None:
    source = save("ViTModel", tmp_path / "m")
    with pytest.raises(UserError, match="'ViTModel' reads pixel_values, not text"):
        benchvise.compress(source, recipe("error_feedback"), workspace=tmp_path / "ws")
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 3), np.float32), b=np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match="holds no array 'pixel_values'"):
        inputs_of(open_checkpoint(source), str(tmp_path / "two.npz"), 4)
    save_file({"x": np.zeros((2, 3), np.int64)}, tmp_path / "whole.safetensors")
    with pytest.raises(UserError, match="int64"):
        inputs_of(open_checkpoint(source), str(tmp_path / "whole.safetensors"), 4)
    with pytest.raises(CheckpointError, match="'ViTModel' does not predict the next token"):
        language_model_of(open_checkpoint(source))
    tuned = {**recipe("nearest", tmp_path / "given.npz"), "tuning": [{"method": "polish"}]}
    with pytest.raises(CheckpointError, match="does not predict the next token"):
        benchvise.compress(source, tuned, workspace=tmp_path / "ws")
    with pytest.raises(UserError, match="judged by its outputs"):
        benchvise.evaluate(source, text=tmp_path / "given.npz")


def test_a_folder_of_images_is_read_as_the_checkpoint_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    source = save("ViTModel", tmp_path / "m")
    (tmp_path / "images").mkdir()
    for number in range(3):
        image.new("RGB", (20, 24), (255, 0, 0)).save(tmp_path / "images" / f"{number}.png")
    with pytest.raises(CheckpointError, match=r"preprocess"):
        inputs_of(open_checkpoint(source), str(tmp_path / "images"), 4)
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    (source / "preprocessor_config.json").write_text(json.dumps(settings))
    found = inputs_of(open_checkpoint(source), str(tmp_path / "images"), 2)
    assert found is not None
    assert found.shape == (2, 3, 16, 16)
    assert torch.equal(found[:, 0].unique(), torch.ones(1))
    assert torch.equal(found[:, 1].unique(), -torch.ones(1))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match="pillow"):
        inputs_of(open_checkpoint(source), str(tmp_path / "images"), 2)


def test_sound_is_read_in_pieces(tmp_path: Path) -> None:
    config = transformers.WhisperConfig(
        vocab_size=64, d_model=32, num_mel_bins=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, max_source_positions=1500,
    )  # fmt: skip
    transformers.WhisperForConditionalGeneration(config).save_pretrained(tmp_path / "m")
    transformers.WhisperFeatureExtractor(feature_size=16).save_pretrained(tmp_path / "m")
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes((np.sin(np.arange(2 * 16000 * 25)) * 9000).astype("<i2").tobytes())
    found = inputs_of(open_checkpoint(tmp_path / "m"), str(tmp_path / "x.wav"), 9)
    assert found is not None
    assert found.shape == (2, 16, 3000)
    (tmp_path / "y.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="cannot be read"):
        inputs_of(open_checkpoint(tmp_path / "m"), str(tmp_path / "y.wav"), 9)


def test_windows_of_an_encoder_stand_between_its_own_tokens(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "once", "upon", "a", "time"]
    transformers.BertModel(NETWORKS["BertModel"]).save_pretrained(tmp_path)
    transformers.BertTokenizer(vocab={word: place for place, word in enumerate(words)}).save_pretrained(tmp_path)
    read = tokens_of(open_checkpoint(tmp_path), "once upon a time")
    assert (read.ids.tolist(), read.before, read.after) == ([5, 6, 7, 8], (2,), (3,))
    assert read.framed(read.ids.reshape(2, 2)).tolist() == [[2, 5, 6, 3], [2, 7, 8, 3]]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
        ({"architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM"),
        ({}, "LlamaForCausalLM"),
        ({"architectures": ["OurOwnNetwork"]}, "LlamaModel"),
    ],
)
def test_the_network_is_the_one_that_the_config_names(tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **changes}))
    save_file({"x": np.zeros((2, 2), np.float32)}, tmp_path / "model.safetensors")
    assert architecture_of(open_checkpoint(tmp_path)).model_class.__name__ == found
