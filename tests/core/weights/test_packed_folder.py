"""Packed folders of other tools, and ones that lie about themselves; the compressed-tensors library is the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.torch import save_file

from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.scheme import Scheme
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights

ROWS, COLUMNS = 24, 96


Tensors = dict[str, torch.Tensor]


def library_layer(form: str, arguments: QuantizationArgs, dtype: torch.dtype) -> tuple[Tensors, torch.Tensor]:
    """A random weight that the library compressed, and what the library makes of it again."""
    torch.manual_seed(arguments.num_bits)
    weight = torch.randn(ROWS, COLUMNS).to(dtype)
    groups = COLUMNS // (arguments.group_size or 1)
    shape = {"tensor": (1,), "channel": (ROWS, 1)}.get(str(arguments.strategy), (ROWS, groups))
    levels = 2**arguments.num_bits
    state = {"weight": weight, "weight_scale": (torch.rand(shape) * 3 / levels + 4 / levels).to(dtype)}
    if not arguments.symmetric:
        state["weight_zero_point"] = torch.randint(-levels // 4, levels // 4, shape, dtype=torch.int8)
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    compressor = BaseCompressor.get_value_from_registry(form)
    stored = compressor.compress(state, scheme)
    return dict(stored), compressor.decompress(dict(stored), scheme)["weight"]


def save_folder(folder: Path, stored: Tensors, weights: dict[str, Any], form: str = "pack-quantized") -> Path:
    folder.mkdir()
    tensors = {f"model.layers.0.mlp.up_proj.{name}": tensor for name, tensor in stored.items()}
    save_file(tensors | {"model.norm.weight": torch.ones(4)}, folder / "model.safetensors")
    group = {"targets": ["re:.*up_proj$"], "weights": weights, "format": form}
    other = {"targets": ["Linear"], "weights": weights | {"num_bits": 2}, "format": form}
    quantization = {"quant_method": "compressed-tensors", "format": form, "config_groups": {"a": other, "b": group}}
    (folder / "config.json").write_text(json.dumps({"quantization_config": quantization}))
    return folder


def described(arguments: QuantizationArgs) -> dict[str, Any]:
    """The `weights` of a config group, as tools write it."""
    return {
        "num_bits": arguments.num_bits,
        "type": "int",
        "symmetric": arguments.symmetric,
        "strategy": str(arguments.strategy),
        "group_size": arguments.group_size,
    }


def only_layer(weights: Weights) -> torch.Tensor:
    layer = weights.checkpoint.layer("model.layers.0.mlp.up_proj")
    assert layer.shape == (ROWS, COLUMNS)
    assert layer.role == "mlp.up"
    blocks = torch.cat([rows for _, rows in weights.dense_blocks(layer, 1000)])
    dense = weights.dense(layer)
    assert torch.equal(blocks, dense)
    stored = weights.stored(layer)
    for tensor in weights.treatment(layer).scheme.storage(layer):
        assert (str(stored[tensor.name].dtype), stored[tensor.name].shape) == (f"torch.{tensor.dtype}", tensor.shape)
    return dense


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("strategy", "group_size"), [("tensor", None), ("channel", None), ("group", 32), ("group", 6)])
@pytest.mark.parametrize("bits", range(2, 9))
def test_what_the_library_packed(
    tmp_path: Path, bits: int, strategy: str, group_size: int | None, symmetric: bool, dtype: torch.dtype
) -> None:
    arguments = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy=strategy, group_size=group_size)
    stored, expected = library_layer("pack-quantized", arguments, dtype)
    described = {
        "num_bits": bits,
        "type": "int",
        "symmetric": symmetric,
        "strategy": strategy,
        "group_size": group_size,
    }
    weights = open_weights(str(save_folder(tmp_path / "folder", stored, described)))
    assert torch.equal(only_layer(weights), expected)
    assert weights.stored_bytes == sum(tensor.nbytes for tensor in stored.values()) + 16


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("strategy", "group_size"), [("channel", None), ("group", 32)])
def test_unpacked_codes(tmp_path: Path, strategy: str, group_size: int | None, symmetric: bool) -> None:
    arguments = QuantizationArgs(num_bits=8, symmetric=symmetric, strategy=strategy, group_size=group_size)
    stored, expected = library_layer("int-quantized", arguments, torch.bfloat16)
    weights = open_weights(str(save_folder(tmp_path / "folder", stored, described(arguments), "int-quantized")))
    assert torch.equal(only_layer(weights), expected)
    assert weights.treatment(weights.checkpoint.layers[0]).scheme == Integer(
        bits=8, symmetric=symmetric, granularity="group" if group_size else "channel", group_size=group_size or 128
    )


def test_codes_are_never_read_as_weights(tmp_path: Path) -> None:
    arguments = QuantizationArgs(num_bits=4, symmetric=True, strategy="channel")
    stored, expected = library_layer("pack-quantized", arguments, torch.float32)
    weights = open_weights(
        str(save_folder(tmp_path / "f", stored, {"num_bits": 4, "type": "int", "strategy": "channel"}))
    )
    assert torch.equal(load_tensor(weights.checkpoint.layer("model.layers.0.mlp.up_proj").tensor), expected)
    assert not weights.checkpoint.undecoded


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"num_bits": 5}, "weight_packed"),
        ({"type": "float"}, "not read"),
        ({"num_bits": 16}, "not read"),
        ({"strategy": "block"}, "not read"),
        ({"actorder": "group"}, "not read"),
        ({"strategy": "group", "group_size": 7}, "scales"),
        ({"strategy": "group", "group_size": 32}, "scales"),
        ({"symmetric": False}, "zero points"),
    ],
)
def test_configs_that_do_not_fit(tmp_path: Path, changed: dict[str, Any], what: str) -> None:
    arguments = QuantizationArgs(num_bits=4, symmetric=True, strategy="channel")
    stored, _ = library_layer("pack-quantized", arguments, torch.float32)
    folder = save_folder(tmp_path / "folder", stored, described(arguments) | changed)
    with pytest.raises(CheckpointError, match=what) as caught:
        open_weights(str(folder))
    assert caught.value.remedy


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "compressed-tensors", "format": "mxfp6-pack-quantized", "config_groups": {"a": {}}},
        {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    ],
)
def test_forms_that_are_not_read(tmp_path: Path, quantization: dict[str, Any]) -> None:
    save_file({"a.weight": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": quantization}))
    with pytest.raises(CheckpointError, match="not read") as caught:
        open_weights(str(tmp_path))
    assert caught.value.remedy


@pytest.mark.parametrize("lost", ["weight_packed", "weight_shape"])
def test_parts_that_are_missing(tmp_path: Path, lost: str) -> None:
    arguments = QuantizationArgs(num_bits=4, symmetric=True, strategy="channel")
    stored, _ = library_layer("pack-quantized", arguments, torch.float32)
    del stored[lost]
    folder = save_folder(tmp_path / "folder", stored, described(arguments))
    with pytest.raises(CheckpointError):
        open_weights(str(folder))


FLOATS = [
    ("float-quantized", {"num_bits": 8, "strategy": "tensor"}, Floating(granularity="tensor", scales="weight")),
    ("float-quantized", {"num_bits": 8, "strategy": "channel"}, Floating(scales="weight")),
    (
        "float-quantized",
        {"num_bits": 8, "strategy": "block", "block_structure": [16, 32]},
        Floating(granularity="block", block_rows=16, block_columns=32, scales="weight"),
    ),
    ("mxfp4-pack-quantized", {"num_bits": 4, "strategy": "group", "group_size": 32}, Microscaling()),
    ("mxfp8-quantized", {"num_bits": 8, "strategy": "group", "group_size": 32}, Microscaling(number="e4m3")),
    ("nvfp4-pack-quantized", {"num_bits": 4, "strategy": "tensor_group", "group_size": 16}, NvFloat4()),
]


def floating_layer(form: str, weights: dict[str, Any]) -> tuple[Tensors, torch.Tensor]:
    """A random bfloat16 weight that the library compressed to floats, and what the library makes of it again."""
    torch.manual_seed(0)
    weight = torch.randn(ROWS, COLUMNS).bfloat16()
    codes = {"mxfp4-pack-quantized": torch.uint8, "mxfp8-quantized": torch.uint8}.get(form)
    arguments = QuantizationArgs(type="float", symmetric=True, scale_dtype=codes, **weights)
    shape = {"tensor": (1,), "channel": (ROWS, 1), "block": (2, 3)}.get(
        weights["strategy"], (ROWS, COLUMNS // weights.get("group_size", 1))
    )
    scale = torch.rand(shape) + 0.1
    if codes is not None:
        scale = 2.0 ** (scale * 4).round()
    state = {"weight": weight, "weight_scale": scale.bfloat16()}
    if form.startswith("nvfp4"):
        state |= {"weight_scale": (scale * 100).to(torch.float8_e4m3fn).bfloat16()}
        state |= {"weight_global_scale": torch.tensor([321.7])}
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    compressor = BaseCompressor.get_value_from_registry(form)
    stored = dict(compressor.compress(state, scheme))
    return stored, compressor.decompress(dict(stored), scheme)["weight"]


@pytest.mark.parametrize(("form", "weights", "scheme"), FLOATS, ids=[scheme.tag for _, _, scheme in FLOATS])
def test_floating_layers_of_the_library(tmp_path: Path, form: str, weights: dict[str, Any], scheme: Scheme) -> None:
    stored, expected = floating_layer(form, weights)
    folder = save_folder(tmp_path / "folder", stored, weights | {"type": "float", "symmetric": True}, form)
    opened = open_weights(str(folder))
    found = only_layer(opened)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    assert opened.treatment(opened.checkpoint.layer("model.layers.0.mlp.up_proj")).scheme == scheme


@pytest.mark.parametrize(("form", "weights", "scheme"), FLOATS, ids=[scheme.tag for _, _, scheme in FLOATS])
def test_floating_layers_that_do_not_fit(tmp_path: Path, form: str, weights: dict[str, Any], scheme: Scheme) -> None:
    stored, _ = floating_layer(form, weights)
    named = weights | {"type": "float"}
    short = stored | {"weight_scale": stored["weight_scale"][:, :-1] if scheme.tag.startswith(("mx", "nv")) else None}
    short["weight_scale"] = torch.ones(7, 1) if short["weight_scale"] is None else short["weight_scale"].contiguous()
    with pytest.raises(CheckpointError, match="scale") as caught:
        open_weights(str(save_folder(tmp_path / "short", short, named, form)))
    assert caught.value.remedy
    if "weight_global_scale" in stored:
        del stored["weight_global_scale"]
        with pytest.raises(CheckpointError, match="global"):
            open_weights(str(save_folder(tmp_path / "lost", stored, named, form)))


INPUTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor", "dynamic": False}


def with_inputs(folder: Path, inputs: dict[str, Any], scale: torch.Tensor | None) -> Path:
    arguments = QuantizationArgs(num_bits=8, symmetric=True, strategy="channel")
    stored, _ = library_layer("int-quantized", arguments, torch.float32)
    stored |= {} if scale is None else {"input_scale": scale}
    save_folder(folder, stored, described(arguments), "int-quantized")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["config_groups"]["b"]["input_activations"] = inputs
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_fixed_scales_of_inputs(tmp_path: Path, shape: tuple[int, ...]) -> None:
    folder = with_inputs(tmp_path / "folder", INPUTS, torch.full(shape, 0.25, dtype=torch.bfloat16))
    weights = open_weights(str(folder))
    layer = weights.checkpoint.layer("model.layers.0.mlp.up_proj")
    assert weights.treatment(layer).activations == Activations("int8", "static")
    scale = weights.input_scale(layer)
    assert scale is not None
    assert (scale.dtype, scale.tolist()) == (torch.float32, [0.25])
    assert weights.input_scale(weights.checkpoint.layer("model.norm")) is None


@pytest.mark.parametrize(
    ("changed", "scale", "what"),
    [
        ({}, None, "fixed scale"),
        ({}, torch.ones(2), "fixed scale"),
        ({"num_bits": 4}, torch.ones(1), "not read"),
        ({"symmetric": False}, torch.ones(1), "not read"),
        ({"strategy": "group"}, torch.ones(1), "not read"),
        ({"dynamic": True}, torch.ones(1), "not read"),
        ({"dynamic": "local", "strategy": "tensor_group"}, torch.ones(1), "not read"),
    ],
)
def test_inputs_that_are_not_read(
    tmp_path: Path, changed: dict[str, Any], scale: torch.Tensor | None, what: str
) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        open_weights(str(with_inputs(tmp_path / "folder", INPUTS | changed, scale)))
    assert caught.value.remedy
