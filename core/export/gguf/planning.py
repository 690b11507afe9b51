"""Which tensors a GGUF export writes for the layers of a checkpoint, and what is not as in the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from benchvise.core.checkpoint.encodings.gguf_blocks import GgufBlocks
from benchvise.core.checkpoint.encodings.gguf_types import TYPES
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.export.export_plan import TreatmentOf
from benchvise.core.export.export_warnings import full_inputs, written_dense
from benchvise.core.export.gguf.carried import carried_kind
from benchvise.core.export.gguf.described import Described
from benchvise.core.export.gguf.names import FileNames, GgufPlace
from benchvise.core.export.gguf.tensors import TYPE_OF, WHOLE, GgufLayer, GgufTensor, Part, layout_of_type
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import Treatment

_PLAIN = {"float16": "f16", "bfloat16": "bf16"}
_WIDE = ("ffn_gate_inp", "ffn_gate_inp_shexp", "position_embd", "token_types", "attn_sinks", "exp_probs_b")
_NAME_BYTES = 63
"""The longest name of a tensor that ggml takes."""


@dataclass(frozen=True)
class PlannedGguf:
    layers: tuple[GgufLayer, ...]
    plan_warnings: tuple[PlanWarning, ...]
    refusal: str = ""


@dataclass
class _Found:
    """What is known so far: parts by the tensor's name, layers that go nowhere, and reasons to write values."""

    parts: dict[str, list[tuple[GgufPlace, Part]]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)
    reasons: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)


def planned(checkpoint: Checkpoint, description: Described, treatment_of: TreatmentOf) -> PlannedGguf:
    """The layers with what is written for each; no weight is read."""
    architecture = description.architecture
    if architecture is None or description.refusal:
        return PlannedGguf(tuple(GgufLayer(layer, None) for layer in checkpoint.layers), (), description.refusal)
    found, names = _Found(), FileNames(architecture, description.blocks)
    for layer in checkpoint.layers:
        _place(layer, treatment_of(layer), description, names, found)
    tensors = {name: _tensor(name, parts, treatment_of, found) for name, parts in found.parts.items()}
    refusal = _refusal(found, tensors)
    beginning: dict[str, list[GgufTensor]] = {}
    carried: dict[str, str] = {}
    for tensor in tensors.values():
        beginning.setdefault(tensor.parts[0].layer.name, []).append(tensor)
        carried |= {part.layer.name: tensor.kind for part in tensor.parts if part.origin != "values"}
    layers = tuple(
        _layer(layer, treatment_of(layer), carried.get(layer.name, ""), tuple(beginning.get(layer.name, ())))
        for layer in checkpoint.layers
    )
    first = replace(layers[0], written=(*_tables(description), *layers[0].written))
    return PlannedGguf((first, *layers[1:]), tuple(_warnings(found, description)), refusal)


def _layer(layer: Layer, treatment: Treatment, kind: str, written: tuple[GgufTensor, ...]) -> GgufLayer:
    packs = kind and TYPE_OF[kind].dtype == "" and not treatment.keeps
    layout = layout_of_type(kind, treatment.scheme) if packs else None
    return GgufLayer(layer, layout, written, "" if treatment.keeps else treatment.tag)


def _tables(description: Described) -> Iterator[GgufTensor]:
    for name, values in description.tables.items():
        yield GgufTensor(name, "f32", (), table=values)


def _place(layer: Layer, treatment: Treatment, description: Described, names: FileNames, found: _Found) -> None:
    """Note where the layer goes, under its own name and under those that are tied to it."""
    tied = [name for name in layer.tied if not _is_head(name, description)]
    if treatment.activations is not None:
        found.inputs.append(layer.name)
    for name in (layer.tensor.name, *(f"{each}.weight" for each in tied)):
        places = (GgufPlace(name),) if description.as_named else names.places(name)
        if not places:
            (found.needless if names.needless(name) else found.unknown).append(name)
        for place in places:
            part = _part(layer, treatment, place, description)
            found.parts.setdefault(place.name, []).append((place, part))


def _is_head(name: str, description: Described) -> bool:
    """An output head that shares the embedding is not written: llama.cpp takes the embedding where there is none."""
    return name in ("lm_head", "output") and not description.as_named


def _part(layer: Layer, treatment: Treatment, place: GgufPlace, description: Described) -> Part:
    part = Part(layer, piece=place.piece.settled(description.settings), head=_head_rows(layer, place.name, description))
    if description.architecture is not None and place.name.endswith("norm.weight"):
        part = replace(part, shift=description.architecture.norm)
    encoding = layer.tensor.encoding
    if treatment.keeps:
        same = isinstance(encoding, GgufBlocks) and encoding.head == part.head and not layer.tensor.cut
        # Of a file of blocks that is kept, the bytes are what was opened, in the order in which they lie there.
        return replace(part, origin="file") if same and part.piece == WHOLE else part
    if place.piece == WHOLE and not part.shift and carried_kind(treatment.scheme, layer):
        return replace(part, origin="codes", scheme=treatment.scheme)
    return part


def _head_rows(layer: Layer, name: str, description: Described) -> int:
    """Rows of a head of queries or keys whose rotary pairs become neighbours, 0 where rows stay as they are."""
    key = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(name.split(".")[-2], "")
    pairs = description.architecture is not None and description.architecture.pairs
    if not pairs or not key or not layer.shape:
        return 0
    heads = int(description.settings.get(key) or description.settings.get("num_attention_heads") or 1)
    return layer.shape[0] // heads


def _tensor(name: str, places: list[tuple[GgufPlace, Part]], treatment_of: TreatmentOf, found: _Found) -> GgufTensor:
    """The tensor, of the one type that all its parts have, or with their values."""
    stacked = places[0][0].expert is not None
    parts = [part for _, part in sorted(places, key=lambda each: each[0].expert or 0)]
    kinds = {_own_kind(part) for part in parts}
    if len(kinds) == 1 and "" not in kinds:
        return GgufTensor(name, kinds.pop(), tuple(parts), stacked)
    for part in parts:
        treatment = treatment_of(part.layer)
        if not treatment.keeps:
            found.reasons.setdefault(_reason(part, treatment), []).append((part.layer.name, treatment.tag))
    values = tuple(replace(part, origin="values", scheme=None) for part in parts)
    return GgufTensor(name, _plain_kind(name, values), values, stacked)


def _own_kind(part: Part) -> str:
    """The type of what is carried over, "" for values."""
    encoding = part.layer.tensor.encoding
    if part.origin == "file" and isinstance(encoding, GgufBlocks):
        return TYPES[encoding.kind].name
    return carried_kind(part.scheme, part.layer) if part.origin == "codes" and part.scheme is not None else ""


def _reason(part: Part, treatment: Treatment) -> str:
    if part.origin == "codes":
        return "the experts of a block are one tensor, which has one type, and these have several"
    if part.piece != WHOLE or part.shift or part.layer.transposed:
        return "llama.cpp has these values in another order, which blocks cannot follow"
    return f"no type of llama.cpp holds {treatment.scheme.title.lower()} codes"


def _plain_kind(name: str, parts: tuple[Part, ...]) -> str:
    """The type that holds values exactly; norms, biases and routers are computed with in 32 bits."""
    stem = name.split(".")[-2] if "." in name else name
    shape = parts[0].shape
    if len(shape) < 2 or name.endswith((".bias", "norm.weight")) or stem in _WIDE:
        return "f32"
    kinds = {_PLAIN.get(part.layer.dtype, "f32") for part in parts}
    return kinds.pop() if len(kinds) == 1 else "f32"


def _refusal(found: _Found, tensors: Mapping[str, GgufTensor]) -> str:
    if found.unknown:
        more = f" and {len(found.unknown) - 1} more" if len(found.unknown) > 1 else ""
        return f"llama.cpp has no place for the tensor '{found.unknown[0]}'{more}"
    for name, tensor in tensors.items():
        if len(name.encode()) > _NAME_BYTES or not 0 < len(tensor.shape) <= 4:
            return f"ggml holds no tensor of that name or shape: '{name[:80]}' {list(tensor.shape)}"
        odd = [part.layer.name for part in tensor.parts if part.shape != tensor.parts[0].shape]
        if odd:
            return f"The experts of a block are stacked, and '{odd[0]}' has another shape"
        wide = [part.layer for part in tensor.parts if part.origin == "values" and part.layer.dtype not in _HELD]
        if wide:
            return f"llama.cpp computes with no {wide[0].dtype} values, as '{wide[0].name}' has"
    return ""


_HELD = frozenset({"float32", "float16", "bfloat16"})


def _warnings(found: _Found, description: Described) -> Iterator[PlanWarning]:
    yield from written_dense(found.reasons)
    yield from full_inputs(found.inputs)
    if found.needless:
        cause = "llama.cpp has no use for them"
        yield PlanWarning("left out", tuple(found.needless), cause=cause)
    for note in description.notes:
        yield PlanWarning("tokenizer", got=note)
