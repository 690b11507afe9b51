"""A small network as layers, for recipes to meet; nothing lies on disk."""

from __future__ import annotations

from math import prod

from benchvise.core.checkpoint.records import DTYPE_BITS, Checkpoint, Kind, Layer, TensorEntry


def layer(
    name: str,
    shape: tuple[int, ...],
    *,
    role: str = "other",
    kind: Kind = "linear",
    depth: int | None = None,
    dtype: str = "bfloat16",
    tensor: str = "",
) -> Layer:
    nbytes = prod(shape) * DTYPE_BITS[dtype] // 8
    entry = TensorEntry(tensor or f"{name}.weight", dtype, shape, "model.safetensors", 0, nbytes)
    return Layer(name, entry, role, kind, depth)


def network(depth: int = 3) -> tuple[Layer, ...]:
    """Embedding, `depth` blocks of five linears and a norm, a convolution, a counter, and the output head."""
    layers = [layer("embed", (100, 64), role="embedding", kind="embedding")]
    for block in range(depth):
        at = f"layers.{block}"
        layers += [
            layer(f"{at}.attn.{part}", (64, 64), role=f"attention.{part}", depth=block) for part in ("q", "k", "o")
        ]
        layers += [
            layer(f"{at}.mlp.up", (96, 64), role="mlp.up", depth=block),
            layer(f"{at}.mlp.down", (64, 96), role="mlp.down", depth=block),
            layer(f"{at}.norm", (64,), role="norm", kind="norm", depth=block),
        ]
    return (
        *layers,
        layer("stem", (8, 3, 4, 4), role="conv", kind="conv"),
        layer("steps", (), kind="tensor", dtype="int64", tensor="steps"),
        layer("head", (100, 64), role="lm_head"),
    )


def checkpoint(*layers: Layer, quantization: dict[str, object] | None = None) -> Checkpoint:
    return Checkpoint("/models/small", "safetensors", layers or network(), quantization=quantization)
