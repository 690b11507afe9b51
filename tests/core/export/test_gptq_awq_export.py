"""GPTQ and AWQ folders unpacked by the formats' definitions, one code at a time: the codes and values of the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchvise.core.errors import OutputError
from benchvise.core.methods.integer import Integer
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import export_run, integer_recipe, make_run, save_model

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 60,
}
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def bit_stream(words: np.ndarray, bits: int, count: int) -> list[int]:
    """The codes in a column of int32 words, the lowest bits first."""
    whole = sum(int(word) % (1 << 32) << (32 * number) for number, word in enumerate(words))
    return [(whole >> (bits * number)) % (1 << bits) for number in range(count)]


def gptq_weight(tensors: dict[str, torch.Tensor], bits: int, first: bool) -> torch.Tensor:
    qweight, qzeros = tensors["qweight"].numpy(), tensors["qzeros"].numpy()
    inputs, outputs = len(tensors["g_idx"]), qweight.shape[1]
    codes = np.array([bit_stream(qweight[:, output], bits, inputs) for output in range(outputs)])
    zeros = np.array([bit_stream(row, bits, outputs) for row in qzeros]) + first
    scales, group = tensors["scales"].float().numpy(), tensors["g_idx"].numpy()
    return torch.from_numpy((codes - zeros[group].T) * scales[group].T)


def awq_weight(tensors: dict[str, torch.Tensor], group_size: int) -> torch.Tensor:
    def unpacked(words: np.ndarray) -> np.ndarray:
        found = np.zeros((len(words), 8 * words.shape[1]), int)
        for number, output in enumerate(AWQ_ORDER):
            found[:, output::8] = (words.astype(np.int64) >> (4 * number)) % 16
        return found

    codes, zeros = unpacked(tensors["qweight"].numpy()), unpacked(tensors["qzeros"].numpy())
    group = np.arange(len(codes)) // group_size
    return torch.from_numpy((codes - zeros[group]) * tensors["scales"].float().numpy()[group]).T


def exported(
    tmp_path: Path, target: str, dtype: torch.dtype, *rules: tuple[str, Integer]
) -> tuple[dict[str, Any], Any, Any]:
    """The config's quantization, the exported tensors, and the run's weights."""
    checkpoint = save_model(tmp_path / "model", "Llama", dtype, **SIZES)
    run = make_run(checkpoint, integer_recipe(*rules), tmp_path / "work")
    answer = export_run(run, tmp_path / "out", tmp_path / "work", target)
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    return config, answer, open_weights(f"run:{run}", str(tmp_path / "work"))


def parts(folder: Path, name: str) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / "model.safetensors")
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


@pytest.mark.parametrize("symmetric", [True, False], ids=["v1", "v2"])
def test_gptq_carries_every_width_bit_for_bit(tmp_path: Path, symmetric: bool) -> None:
    names = {"q_proj": 2, "k_proj": 3, "v_proj": 4, "o_proj": 8, "gate_proj": 4, "up_proj": 4}
    rules = [(f"*.{name}", Integer(bits, symmetric=symmetric, group_size=32)) for name, bits in names.items()]
    rules[-1] = ("*.up_proj", Integer(4, symmetric=symmetric, granularity="channel"))
    config, _, weights = exported(tmp_path, "gptq", torch.float16, *rules)
    assert config == json.loads((tmp_path / "out" / "quantize_config.json").read_text())
    assert config["checkpoint_format"] == ("gptq" if symmetric else "gptq_v2")
    assert (config["bits"], config["group_size"], config["sym"]) == (4, 32, symmetric)
    for name, bits in names.items():
        layer = next(layer for layer in weights.checkpoint.layers if layer.name.endswith(name))
        found = gptq_weight(parts(tmp_path / "out", layer.name), bits, symmetric)
        torch.testing.assert_close(found.to(torch.float16), weights.dense(layer), rtol=0, atol=0)
        settings = [value for key, value in config["dynamic"].items() if re.match(key[2:], layer.name)]
        size = -1 if name == "up_proj" else 32
        assert settings == ([] if (bits, size) == (4, 32) else [{"bits": bits, "group_size": size, "sym": symmetric}])
    assert any(key.startswith("-:") and re.match(key[2:], "model.layers.0.mlp.down_proj") for key in config["dynamic"])


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_awq_leaves_other_settings_dense(tmp_path: Path, symmetric: bool, dtype: torch.dtype) -> None:
    rules = (
        ("linears", Integer(4, symmetric=symmetric, group_size=32)),
        ("*.o_proj", Integer(4, symmetric=symmetric, group_size=64)),
        ("*.v_proj", Integer(3, symmetric=symmetric, group_size=32)),
    )
    config, answer, weights = exported(tmp_path, "awq", dtype, *rules)
    assert (config["bits"], config["group_size"], config["version"]) == (4, 32, "gemm")
    layer = weights.checkpoint.layer("model.layers.0.mlp.down_proj")
    found = awq_weight(parts(tmp_path / "out", layer.name), 32)
    torch.testing.assert_close(found.to(dtype), weights.dense(layer), rtol=0, atol=0)
    for name in ("model.layers.0.self_attn.o_proj", "model.layers.0.self_attn.v_proj"):
        assert name in config["modules_to_not_convert"]
        assert torch.equal(parts(tmp_path / "out", name)["weight"], weights.dense(weights.checkpoint.layer(name)))
        assert any(name in sentence for sentence in sentences(answer.warnings))


def test_what_no_layer_fits_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="4 bits, not 5"):
        exported(tmp_path, "awq", torch.float16, ("linears", Integer(5, group_size=32)))
