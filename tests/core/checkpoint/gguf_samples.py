"""GGUF files written by the `gguf` package: the tests' own tiny Llama, with real blocks."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

HEADS, KV_HEADS, HIDDEN, INNER, VOCAB, BLOCKS = 4, 2, 64, 96, 64, 2


def dense_llama(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of a Llama in the order of GGUF, float32."""
    rng = np.random.default_rng(seed)
    head = HIDDEN // HEADS

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (rng.normal(size=(rows, columns)) * columns**-0.5).astype(np.float32)

    weights = {"token_embd.weight": matrix(VOCAB, HIDDEN), "output.weight": matrix(VOCAB, HIDDEN)}
    weights["output_norm.weight"] = (1 + 0.1 * rng.normal(size=HIDDEN)).astype(np.float32)
    for block in range(BLOCKS):
        parts = {
            "attn_q": matrix(HIDDEN, HIDDEN), "attn_k": matrix(KV_HEADS * head, HIDDEN),
            "attn_v": matrix(KV_HEADS * head, HIDDEN), "attn_output": matrix(HIDDEN, HIDDEN),
            "ffn_gate": matrix(INNER, HIDDEN), "ffn_up": matrix(INNER, HIDDEN), "ffn_down": matrix(HIDDEN, INNER),
            "attn_norm": np.ones(HIDDEN, np.float32), "ffn_norm": np.ones(HIDDEN, np.float32),
        }  # fmt: skip
        weights |= {f"blk.{block}.{name}.weight": value for name, value in parts.items()}
    return weights


def write_llama(path: Path, kind: Type = Type.Q4_1, *, tokens: bool = True) -> dict[str, np.ndarray]:
    """A Llama whose matrices are of `kind`; the weights as the file holds them, float32, in GGUF's order."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCAB)
    if tokens:
        characters = [chr(ord("!") + index) for index in range(VOCAB - 3)]
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["<s>", "</s>", *characters, "AB"])
        writer.add_token_types([3, 3, *[1] * (VOCAB - 2)])
        writer.add_token_merges(["A B"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
    held = {}
    for name, values in dense_llama().items():
        stored = kind if values.ndim == 2 else Type.F32
        raw = gguf.quants.quantize(values, stored)
        writer.add_tensor(name, raw, raw_dtype=stored)
        held[name] = gguf.quants.dequantize(raw, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held
