"""A reference network, for recipes that are checked before there is a checkpoint."""

from __future__ import annotations

from math import prod

from benchvise.core.checkpoint.records import Checkpoint, Kind, Layer, TensorEntry

IN_WORDS = "a reference Llama (32 blocks, hidden 4096, feed-forward 14336, bfloat16)"
BLOCKS = 32
_HIDDEN, _KEYS, _WIDE, _VOCABULARY = 4096, 1024, 14336, 128256


def reference_model() -> Checkpoint:
    """The layers of an 8-billion-parameter Llama, without any files."""
    layers = [_layer("model.embed_tokens", "embedding", (_VOCABULARY, _HIDDEN), kind="embedding")]
    for depth in range(BLOCKS):
        base = f"model.layers.{depth}"
        shapes = {"q": _HIDDEN, "k": _KEYS, "v": _KEYS, "o": _HIDDEN}
        layers += [
            _layer(f"{base}.self_attn.{name}_proj", f"attention.{name}", (rows, _HIDDEN), depth)
            for name, rows in shapes.items()
        ]
        layers += [_layer(f"{base}.mlp.{name}_proj", f"mlp.{name}", (_WIDE, _HIDDEN), depth) for name in ("gate", "up")]
        layers.append(_layer(f"{base}.mlp.down_proj", "mlp.down", (_HIDDEN, _WIDE), depth))
        layers += [
            _layer(f"{base}.{name}_layernorm", "norm", (_HIDDEN,), depth, "norm")
            for name in ("input", "post_attention")
        ]
    layers += [
        _layer("model.norm", "norm", (_HIDDEN,), kind="norm"),
        _layer("lm_head", "lm_head", (_VOCABULARY, _HIDDEN)),
    ]
    return Checkpoint("", "safetensors", tuple(layers), {"architectures": ["LlamaForCausalLM"], "hidden_size": _HIDDEN})


def _layer(name: str, role: str, shape: tuple[int, ...], depth: int | None = None, kind: Kind = "linear") -> Layer:
    return Layer(name, TensorEntry(f"{name}.weight", "bfloat16", shape, "", 0, 2 * prod(shape)), role, kind, depth)
