"""Layers that other programs quantised: seen as weights, with the values that slow formulas and libraries give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.checkpoint.tensors import load_rows, load_tensor
from benchvise.core.export.convert import convert
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Convert
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset

FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NAME = "model.layers.0.mlp.up_proj"


def folder(path: Path, tensors: dict[str, Tensor], quantization: dict[str, object] | None = None) -> Checkpoint:
    path.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path / "model.safetensors")
    config: dict[str, object] = {"dtype": "float32"}
    (path / "config.json").write_text(json.dumps(config | ({"quantization_config": quantization or {}})))
    return open_checkpoint(path)


def only_layer(checkpoint: Checkpoint, stored: int) -> Layer:
    """The one layer, whose bits are those of `stored` tensors, and whose rows are the same read one by one."""
    (layer,) = checkpoint.layers
    size = Path(layer.tensor.file).stat().st_size
    with Path(layer.tensor.file).open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    assert len(layer.tensor.encoding.parts) == stored  # type: ignore[union-attr]
    assert layer.tensor.bits_per_weight == 8 * (size - header) / layer.parameters
    whole = load_tensor(layer.tensor)
    rows = torch.cat([load_rows(layer.tensor, row, row + 1) for row in range(layer.shape[0])])
    assert torch.equal(whole, rows)
    assert layer.compressible
    return layer


def codes(bits: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, 1 << bits, shape)


def stream(values: np.ndarray, bits: int) -> Tensor:
    """Each row of codes as one number with `bits` binary digits a code, lowest first, cut into words."""
    rows = []
    for row in values:
        number = sum(int(code) << (bits * place) for place, code in enumerate(row))
        rows.append([number >> (32 * word) & 0xFFFFFFFF for word in range(-(-len(row) * bits // 32))])
    return torch.from_numpy(np.array(rows, np.uint32).view(np.int32))


@pytest.mark.parametrize("version", ["gptq", "gptq_v2"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_with_inputs_in_any_order(tmp_path: Path, bits: int, version: str) -> None:
    inputs, outputs, group = 64, 32, 16
    q, zero = codes(bits, inputs, outputs), codes(bits, inputs // group, outputs)
    scale = torch.rand(inputs // group, outputs).half()
    index = np.random.default_rng(1).permutation(inputs) // group
    stored = (zero - (version == "gptq")) % (1 << bits)
    tensors = {
        f"{NAME}.qweight": stream(q.T, bits).T, f"{NAME}.qzeros": stream(stored, bits), f"{NAME}.scales": scale,
        f"{NAME}.g_idx": torch.from_numpy(index.astype(np.int32)),
    }  # fmt: skip
    layer = only_layer(folder(tmp_path, tensors, {"quant_method": "gptq", "checkpoint_format": version}), 4)
    assert (layer.name, layer.shape, layer.tensor.scheme) == (NAME, (outputs, inputs), f"gptq int{bits} g{group}")
    expected = [[(q[i, o] - zero[index[i], o]) * float(scale[index[i], o]) for i in range(inputs)] for o in range(32)]
    assert torch.equal(load_tensor(layer.tensor), torch.tensor(expected).half())


def test_awq_of_the_gemm_layout(tmp_path: Path) -> None:
    inputs, outputs, group = 64, 24, 32
    q, zero, order = codes(4, inputs, outputs), codes(4, inputs // group, outputs), (0, 2, 4, 6, 1, 3, 5, 7)
    scale = torch.rand(inputs // group, outputs).half()

    def packed(values: np.ndarray) -> Tensor:
        places = [8 * word + place for word in range(outputs // 8) for place in order]
        return stream(values[:, places], 4)

    tensors = {f"{NAME}.qweight": packed(q), f"{NAME}.qzeros": packed(zero), f"{NAME}.scales": scale}
    layer = only_layer(folder(tmp_path, tensors, {"quant_method": "awq"}), 3)
    assert (layer.shape, layer.tensor.scheme) == ((outputs, inputs), "awq int4 g32")
    each = [[(q[i, o] - zero[i // group, o]) * float(scale[i // group, o]) for i in range(inputs)] for o in range(24)]
    assert torch.equal(load_tensor(layer.tensor), torch.tensor(each).half())


@pytest.mark.parametrize(("bits", "symmetric"), [(3, True), (4, False), (8, True)])
def test_pack_quantized(tmp_path: Path, bits: int, symmetric: bool) -> None:
    rows, columns, group = 16, 64, 32
    half = 1 << (bits - 1)
    q = torch.from_numpy(codes(bits, rows, columns) - half).to(torch.int8)
    zero = torch.from_numpy(codes(bits, rows, columns // group) - half).to(torch.int8)
    scale = torch.rand(rows, columns // group).bfloat16()
    tensors = {
        f"{NAME}.weight_packed": pack_to_int32(q, bits), f"{NAME}.weight_scale": scale,
        f"{NAME}.weight_shape": torch.tensor([rows, columns]),
    }  # fmt: skip
    if not symmetric:
        tensors[f"{NAME}.weight_zero_point"] = pack_to_int32(zero, bits, packed_dim=0)
    tensors = dict(reversed(tensors.items()))
    checkpoint = folder(tmp_path, tensors, {"quant_method": "compressed-tensors"})
    assert checkpoint.warnings == ()
    layer = only_layer(checkpoint, len(tensors))
    steps = q.float() - (0 if symmetric else zero.float().repeat_interleave(group, 1))
    expected = (steps * scale.float().repeat_interleave(group, 1)).bfloat16()
    assert torch.equal(load_tensor(layer.tensor), expected)
    assert layer.tensor.scheme == f"int{bits} g32{'' if symmetric else ' asym'}"


def test_int8_and_fp8_with_scales_of_channels(tmp_path: Path) -> None:
    scale = torch.rand(8, 1)
    for dtype, scheme in ((torch.int8, "int8 channel"), (torch.float8_e4m3fn, "fp8 channel")):
        stored = (torch.randn(8, 16) * 40).to(dtype)
        tensors = {f"{NAME}.weight": stored, f"{NAME}.weight_scale": scale}
        layer = only_layer(folder(tmp_path, tensors), 2)
        assert layer.tensor.scheme == scheme
        assert torch.equal(load_tensor(layer.tensor), stored.float() * scale)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_fp8_with_scales_of_blocks(tmp_path: Path, lead: tuple[int, ...]) -> None:
    stored = (torch.randn(*lead, 20, 40) * 40).to(torch.float8_e4m3fn)
    scale = torch.rand(*lead, 2, 3)
    tensors = {f"{NAME}.weight": stored, f"{NAME}.weight_scale_inv": scale}
    layer = only_layer(folder(tmp_path, tensors, {"quant_method": "fp8", "weight_block_size": [16, 16]}), 2)
    spread = scale.repeat_interleave(16, -2).repeat_interleave(16, -1)[..., :20, :40]
    assert layer.tensor.scheme == "fp8 block 16×16"
    assert torch.equal(load_tensor(layer.tensor), stored.float() * spread)


def test_every_code_of_the_small_floats_is_what_torch_says(tmp_path: Path) -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(2, 128)
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        tensors = {f"{NAME}.weight": every.view(dtype), f"{NAME}.weight_scale": torch.ones(1)}
        found = load_tensor(folder(tmp_path, tensors).layer(NAME).tensor)
        torch.testing.assert_close(found, every.view(dtype).float(), rtol=0, atol=0, equal_nan=True)


def test_mxfp4_experts_of_gpt_oss(tmp_path: Path) -> None:
    blocks = torch.randint(0, 256, (2, 6, 4, 16), dtype=torch.uint8)
    scales = torch.randint(120, 130, (2, 6, 4), dtype=torch.uint8)
    tensors = {"model.layers.0.mlp.experts.gate_up_proj_blocks": blocks}
    tensors |= {"model.layers.0.mlp.experts.gate_up_proj_scales": scales}
    layer = only_layer(folder(tmp_path, tensors), 2)
    assert (layer.name, layer.shape) == ("model.layers.0.mlp.experts.gate_up_proj", (2, 128, 6))
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    assert torch.equal(load_tensor(layer.tensor), expected)


@pytest.mark.parametrize("form", ["nvfp4", "mxfp4"])
def test_packed_float4_of_compressed_tensors(tmp_path: Path, form: str) -> None:
    block = 16 if form == "nvfp4" else 32
    packed = torch.randint(0, 256, (4, 32), dtype=torch.uint8)
    divisor = torch.tensor([12.5])
    scale = torch.rand(4, 64 // block).to(torch.float8_e4m3fn)
    powers = torch.randint(120, 130, (4, 64 // block), dtype=torch.uint8)
    tensors = {f"{NAME}.weight_packed": packed, f"{NAME}.weight_scale": scale if form == "nvfp4" else powers}
    tensors |= {f"{NAME}.weight_global_scale": divisor} if form == "nvfp4" else {}
    layer = only_layer(folder(tmp_path, tensors), len(tensors))
    for row in range(4):
        for column in range(64):
            code = int(packed[row, column // 2]) >> (4 * (column % 2)) & 15
            value = FP4[code & 7] * (-1 if code & 8 else 1)
            by = (
                scale[row, column // block].float() / divisor[0]
                if form == "nvfp4"
                else 2.0 ** (int(powers[row, column // block]) - 127)
            )
            assert load_tensor(layer.tensor)[row, column] == value * by
    assert layer.tensor.scheme == form


@pytest.mark.parametrize("nested", [False, True])
def test_nf4_of_bitsandbytes(tmp_path: Path, nested: bool) -> None:
    rows, columns, block = 6, 96, 64
    packed = torch.randint(0, 256, (rows * columns // 2, 1), dtype=torch.uint8)
    levels, largest = torch.linspace(-1, 1, 16), torch.rand(9)
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "bfloat16", "shape": [rows, columns]}
    tensors = {f"{NAME}.weight": packed, f"{NAME}.weight.quant_map": levels, f"{NAME}.weight.absmax": largest}
    if nested:
        coded, book, each = torch.randint(0, 256, (9,), dtype=torch.uint8), torch.linspace(-1, 1, 256), torch.rand(3)
        state |= {"nested_blocksize": 4, "nested_offset": 0.5, "nested_dtype": "float32"}
        tensors |= {f"{NAME}.weight.absmax": coded, f"{NAME}.weight.nested_absmax": each}
        tensors |= {f"{NAME}.weight.nested_quant_map": book}
        largest = book[coded.long()] * each.repeat_interleave(4)[:9] + 0.5
    text = json.dumps(state).encode()
    tensors[f"{NAME}.weight.quant_state.bitsandbytes__nf4"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    layer = only_layer(folder(tmp_path, tensors, {"quant_method": "bitsandbytes"}), len(tensors))
    flat = torch.stack([packed.long() >> 4, packed.long() & 15], -1).reshape(-1)
    expected = (levels[flat] * largest.repeat_interleave(block)[: rows * columns]).reshape(rows, columns)
    assert torch.equal(load_tensor(layer.tensor), expected.bfloat16())


def test_int8_of_bitsandbytes(tmp_path: Path) -> None:
    stored, largest = torch.randint(-127, 128, (4, 8), dtype=torch.int8), torch.rand(4)
    tensors = {f"{NAME}.weight": stored, f"{NAME}.SCB": largest}
    tensors[f"{NAME}.weight_format"] = torch.zeros(1, dtype=torch.uint8)
    (layer,) = folder(tmp_path, tensors).layers
    torch.testing.assert_close(load_tensor(layer.tensor), stored.float() * largest[:, None] / 127)


def test_parts_that_fit_no_layer_stay_as_they_are_and_are_named(tmp_path: Path) -> None:
    tensors = {f"{NAME}.qweight": torch.zeros(7, 5, dtype=torch.int32), f"{NAME}.scales": torch.ones(2, 3)}
    checkpoint = folder(tmp_path, tensors, {"quant_method": "gptq"})
    assert {layer.tensor.name for layer in checkpoint.layers} == set(tensors)
    assert checkpoint.undecoded
    assert f"The parts of {NAME}.qweight fit no quantised layer" in checkpoint.warnings[0]


def test_a_quantised_folder_becomes_dense_and_takes_a_recipe(tmp_path: Path) -> None:
    stored, scale = (torch.randn(32, 256) * 40).to(torch.float8_e4m3fn), torch.rand(1, 2)
    tensors = {f"{NAME}.weight": stored, f"{NAME}.weight_scale_inv": scale, "model.norm.weight": torch.ones(4)}
    checkpoint = folder(tmp_path / "fp8", tensors, {"quant_method": "fp8", "weight_block_size": [128, 128]})
    before = (tmp_path / "fp8" / "model.safetensors").read_bytes()
    convert(Convert(path=str(tmp_path / "fp8"), target="dense", out=str(tmp_path / "dense")), NullProgress())
    dense = load_file(tmp_path / "dense" / "model.safetensors")
    assert torch.equal(dense[f"{NAME}.weight"], stored.float() * scale.repeat_interleave(128, 1))
    assert "quantization_config" not in json.loads((tmp_path / "dense" / "config.json").read_text())
    plan = make_plan(checkpoint, load_preset("int4-g128"))
    assert [row.layer.name for row in plan.treated_rows] == [NAME]
    (again,) = [warning for warning in plan.plan_warnings if warning.kind == "again"]
    assert (again.layers, again.asked) == ((NAME,), checkpoint.layers[0].tensor.scheme)
    assert (tmp_path / "fp8" / "model.safetensors").read_bytes() == before
