"""Tensors become layers: each gets a name, a role, a depth, and its place in the tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.checkpoint.roles import place_of, stored_turned, with_dots
from benchvise.core.checkpoint.tree_order import OrderKey, block_of, depth_of, order_key
from benchvise.core.checkpoint.tying import tied_head

_CONV1D_MODELS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
_CONV1D_LEAVES = (".c_attn", ".q_attn", ".c_fc", ".c_proj")


def layers_of(entries: Sequence[TensorEntry], config: dict[str, object], *, by_name: bool) -> tuple[Layer, ...]:
    """One layer per stored tensor, in the order of the tree.

    Tensors that lie at the same place in the same file become one layer, tied to the others. `by_name` sorts within
    blocks by name, for files whose own order means nothing.
    """
    stored = {entry.name for entry in entries}
    conv1d = _stores_conv1d(entries, config)
    keyed: list[tuple[OrderKey, Layer]] = []
    for index, entry in enumerate(entries):
        place = place_of(entry.name, entry.dtype, len(entry.shape))
        name = entry.name.removesuffix(".weight")
        dotted = with_dots(entry.name)
        block = block_of(dotted)
        layer = Layer(
            name=entry.name if not name or (name != entry.name and name in stored) else name,
            tensor=entry,
            role=place.role,
            kind=place.kind,
            depth=depth_of(dotted),
            transposed=place.kind == "linear" and (stored_turned(name) or (conv1d and name.endswith(_CONV1D_LEAVES))),
        )
        keyed.append((order_key(dotted, place, block, index, by_name=by_name), layer))
    keyed.sort(key=lambda pair: pair[0])
    return _tied_by_config(_tied_by_place([layer for _, layer in keyed]), config)


def _stores_conv1d(entries: Sequence[TensorEntry], config: dict[str, object]) -> bool:
    """Whether the projections of this model are stored [in, out], as GPT-2's are."""
    if "model_type" in config:
        return config["model_type"] in _CONV1D_MODELS
    fused = [entry.shape for entry in entries if entry.name.endswith("attn.c_attn.weight")]
    return bool(fused) and all(len(shape) == 2 and shape[1] == 3 * shape[0] for shape in fused)


def _tied_by_place(layers: list[Layer]) -> list[Layer]:
    """Merges layers whose tensors are the same bytes; an embedding keeps its name, else the first one."""
    places = [(layer.tensor.file, layer.tensor.offset) for layer in layers if layer.tensor.nbytes]
    if len(set(places)) == len(places):
        return layers
    groups: dict[tuple[object, ...], list[Layer]] = {}
    for layer in layers:
        tensor = layer.tensor
        own = tensor.name if not tensor.nbytes else ""
        groups.setdefault((tensor.file, tensor.offset, tensor.dtype, tensor.shape, tensor.strides, own), []).append(
            layer
        )
    merged = []
    for group in groups.values():
        kept = next((layer for layer in group if layer.kind == "embedding"), group[0])
        tied = tuple(layer.name for layer in group if layer is not kept)
        merged.append((layers.index(kept), replace(kept, tied=tied)))
    return [layer for _, layer in sorted(merged, key=lambda pair: pair[0])]


def _tied_by_config(layers: list[Layer], config: dict[str, object]) -> tuple[Layer, ...]:
    """Ties the head that the config promises to the embedding, when no head is stored."""
    head = tied_head(config)
    embeddings = [layer for layer in layers if layer.kind == "embedding" and layer.role == "embedding"]
    stored = any(layer.role == "lm_head" or head in (layer.name, *layer.tied) for layer in layers)
    if head is None or stored or not embeddings:
        return tuple(layers)
    shared = max(embeddings, key=lambda layer: layer.parameters)
    return tuple(replace(layer, tied=(*layer.tied, head)) if layer is shared else layer for layer in layers)
