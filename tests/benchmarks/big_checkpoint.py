"""Checkpoints too large to keep, made of real headers and files without blocks behind them."""

from __future__ import annotations

import json
import math
from pathlib import Path

SHARD_BYTES = 4_900_000_000

Shapes = dict[str, list[int]]

LLAMA_70B: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
    "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip


def make_sparse_checkpoint(folder: Path, layers: int = 80) -> Path:
    """A Llama of 70B's widths with that many blocks in bfloat16: for 80, 723 tensors and 138 GB in sharded safetensors.

    The files are sparse: all values read as zero, and hardly a block of the disk is used. Returns `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {**LLAMA_70B, "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    shards = _shards(_llama_shapes(layers))
    weight_map = {}
    for number, shapes in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_sparse(folder / name, shapes)
        weight_map.update(dict.fromkeys(shapes, name))
    index = {"metadata": {"total_size": sum(map(_nbytes, _llama_shapes(layers).values()))}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def make_many_tensors(path: Path, count: int = 100_000) -> Path:
    """One safetensors file with `count` small bfloat16 matrices, named as a mixture of experts names them."""
    roles = ("gate_proj", "up_proj", "down_proj")
    shapes = {
        f"model.layers.{index // 1536}.mlp.experts.{index // 3 % 512}.{roles[index % 3]}.weight": [64, 64]
        for index in range(count)
    }
    write_sparse(path, shapes)
    return path


def write_sparse(path: Path, shapes: Shapes) -> None:
    """A safetensors file of bfloat16 tensors that takes no room."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + _nbytes(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def _llama_shapes(layers: int) -> Shapes:
    hidden, wide, narrow, vocabulary = 8192, 28672, 1024, 32000
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden]}
    for block in range(layers):
        for name, shape in {
            "input_layernorm": [hidden],
            "self_attn.q_proj": [hidden, hidden],
            "self_attn.k_proj": [narrow, hidden],
            "self_attn.v_proj": [narrow, hidden],
            "self_attn.o_proj": [hidden, hidden],
            "post_attention_layernorm": [hidden],
            "mlp.gate_proj": [wide, hidden],
            "mlp.up_proj": [wide, hidden],
            "mlp.down_proj": [hidden, wide],
        }.items():
            shapes[f"model.layers.{block}.{name}.weight"] = shape
    return shapes | {"model.norm.weight": [hidden], "lm_head.weight": [vocabulary, hidden]}


def _shards(shapes: Shapes) -> list[Shapes]:
    shards: list[Shapes] = [{}]
    filled = 0
    for name, shape in shapes.items():
        if shards[-1] and filled + _nbytes(shape) > SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][name] = shape
        filled += _nbytes(shape)
    return shards


def _nbytes(shape: list[int]) -> int:
    return 2 * math.prod(shape)
