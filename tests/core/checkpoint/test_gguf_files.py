"""GGUF: the `gguf` package and the GGUF loader of `transformers` are the oracles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchvise.app.cli.entry import main
from benchvise.core.checkpoint.encodings.gguf_types import TYPES
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.tensors import load_rows, load_tensor
from benchvise.core.errors import CheckpointError
from tests.core.checkpoint.gguf_samples import BLOCKS, HEADS, HIDDEN, KV_HEADS, write_llama


def in_network_order(values: np.ndarray, heads: int) -> np.ndarray:
    """What the converter of llama.cpp does to queries and keys, undone: its own formula read backwards."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(values.shape)


def test_types_are_those_of_the_gguf_package() -> None:
    from gguf.constants import GGML_QUANT_SIZES

    assert {kind: (found.block, found.nbytes) for kind, found in TYPES.items()} == {
        kind.value: sizes for kind, sizes in GGML_QUANT_SIZES.items()
    }


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_1, Type.Q8_0])
def test_layers_with_their_types_and_values(tmp_path: Path, kind: Type) -> None:
    held = write_llama(tmp_path / "x.gguf", kind)
    checkpoint = open_checkpoint(tmp_path / "x.gguf")
    assert (checkpoint.kind, checkpoint.architecture, checkpoint.warnings) == ("gguf", "LlamaForCausalLM", ())
    compressed = kind not in (Type.F32, Type.F16, Type.BF16)
    query = checkpoint.layer("model.layers.1.self_attn.q_proj")
    assert (query.role, query.depth, query.shape) == ("attention.q", 1, (HIDDEN, HIDDEN))
    assert query.tensor.scheme == (kind.name.lower() if compressed else "")
    bits = {Type.Q4_0: 4.5, Type.Q4_1: 5.0, Type.Q5_1: 6.0, Type.Q8_0: 8.5, Type.F32: 32.0}.get(kind, 16.0)
    assert query.tensor.bits_per_weight == bits
    expected = in_network_order(held["blk.1.attn_q.weight"], HEADS)
    assert np.array_equal(load_tensor(query.tensor).float().numpy(), expected)
    assert np.array_equal(load_rows(query.tensor, 5, 23).float().numpy(), expected[5:23])
    key = load_tensor(checkpoint.layer("model.layers.0.self_attn.k_proj").tensor).float().numpy()
    assert np.array_equal(key, in_network_order(held["blk.0.attn_k.weight"], KV_HEADS))
    down = load_tensor(checkpoint.layer("model.layers.0.mlp.down_proj").tensor).float().numpy()
    assert np.array_equal(down, held["blk.0.ffn_down.weight"])
    assert len(checkpoint.layers) == len(held) == 3 + 9 * BLOCKS


def test_convert_gives_what_transformers_reads_from_the_file_itself(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    write_llama(tmp_path / "x.gguf")
    assert main(["convert", str(tmp_path / "x.gguf"), "--to", "dense", "--out", str(tmp_path / "out")]) == 0
    ids = torch.arange(3, 40)[None]
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    theirs = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path, gguf_file="x.gguf")).float().eval()
    read = load_gguf_checkpoint(str(tmp_path / "x.gguf"), return_tensors=True, model_to_load=theirs)
    theirs.load_state_dict(read["tensors"])
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")("ABC")["input_ids"]
    assert tokens == AutoTokenizer.from_pretrained(tmp_path, gguf_file="x.gguf")("ABC")["input_ids"]


def test_inspect_says_types_and_histogram_looks_at_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = write_llama(tmp_path / "x.gguf")
    assert main(["inspect", str(tmp_path / "x.gguf"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["left_out"]) == ("gguf", [])
    by_name = {layer["name"]: layer for layer in told["layers"]}
    assert by_name["lm_head"]["scheme"] == "q4_1"
    assert by_name["lm_head"]["bits_per_weight"] == 5.0
    assert by_name["model.norm"]["scheme"] is None
    name = "model.layers.0.mlp.up_proj"
    assert main(["histogram", str(tmp_path / "x.gguf"), name, "--json"]) == 0
    looked = json.loads(capsys.readouterr().out)
    assert looked["statistics"]["maximum"] == held["blk.0.ffn_up.weight"].max()


def test_compressing_again(tmp_path: Path) -> None:
    write_llama(tmp_path / "x.gguf", Type.Q8_0)
    out = tmp_path / "out"
    given_ = ["compress", str(tmp_path / "x.gguf"), "--preset", "int8-channel", "--to", "dense", "--out", str(out)]
    assert main([*given_, "--workspace", str(tmp_path / "ws")]) == 0
    name = "model.layers.0.mlp.up_proj"
    before = load_tensor(open_checkpoint(tmp_path / "x.gguf").layer(name).tensor)
    after = load_tensor(open_checkpoint(out).layer(name).tensor)
    assert 0 < (before - after).abs().max() < before.abs().max() / 100


def test_experts_are_layers_of_their_own(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "qwen3moe")
    writer.add_block_count(1)
    stacked = np.random.default_rng(0).normal(size=(3, 8, 32)).astype(np.float32)
    raw = gguf.quants.quantize(stacked, Type.Q8_0)
    writer.add_tensor("blk.0.ffn_up_exps.weight", raw, raw_dtype=Type.Q8_0)
    writer.add_tensor("rope_freqs.weight", np.ones(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = open_checkpoint(tmp_path / "x.gguf")
    assert [layer.name for layer in checkpoint.layers] == [
        f"model.layers.0.mlp.experts.{index}.up_proj" for index in range(3)
    ]
    assert {layer.role for layer in checkpoint.layers} == {"mlp.expert.up"}
    values = load_tensor(checkpoint.layers[2].tensor).numpy()
    assert np.array_equal(values, gguf.quants.dequantize(raw, Type.Q8_0)[2])
    assert checkpoint.left_out == ("rope_freqs.weight",)


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


HEAD = b"GGUF\x03\0\0\0"
LIES = {
    "2**60 tensors": HEAD + u64(2**60) + u64(0),
    "2**60 pairs": HEAD + u64(0) + u64(2**60),
    "a text of 2**62": HEAD + u64(0) + u64(1) + u64(2**62) + bytes(40),
    "an array of 2**61": HEAD + u64(0) + u64(1) + u64(1) + b"k\x09\0\0\0\x04\0\0\0" + u64(2**61) + bytes(40),
    "texts of 2**61": HEAD + u64(0) + u64(1) + u64(1) + b"k\x09\0\0\0\x08\0\0\0" + u64(2) + u64(2**61) + bytes(40),
    "an array of arrays": HEAD + u64(0) + u64(1) + u64(1) + b"k\x09\0\0\0\x09\0\0\0" + u64(2) + bytes(40),
    "an unknown type of value": HEAD + u64(0) + u64(1) + u64(1) + b"k\x63\0\0\0" + bytes(40),
    "a tensor beyond the end": HEAD + u64(1) + u64(0) + u64(1) + b"t\x01\0\0\0" + u64(2**40) + bytes(12),
    "a tensor of 99 dimensions": HEAD + u64(1) + u64(0) + u64(1) + b"t\x63\0\0\0" + bytes(60),
    "version 1": b"GGUF\x01\0\0\0" + bytes(40),
    "cut": HEAD,
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
def test_headers_that_lie(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "x.gguf")
    assert caught.value.remedy


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 3000), value=st.integers(0, 255))
def test_any_changed_byte_gives_a_checkpoint_or_a_sentence(tmp_path: Path, position: int, value: int) -> None:
    path = tmp_path / "x.gguf"
    if not path.with_suffix(".whole").exists():
        write_llama(path)
        path.with_suffix(".whole").write_bytes(path.read_bytes())
    content = bytearray(path.with_suffix(".whole").read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content)
    try:
        layers = open_checkpoint(path).layers
    except CheckpointError:
        return
    for layer in layers:
        assert layer.tensor.offset + layer.tensor.nbytes <= len(content)
