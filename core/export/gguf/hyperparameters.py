"""What a config.json says of the network, as the metadata that llama.cpp reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchvise.core.export.gguf.architecture import GgufArchitecture, Key, ValueKind
from benchvise.core.export.gguf.entries import MetadataEntry, count, flag, number, text

_COMMON = (
    Key("context_length", ("max_position_embeddings",)),
    Key("embedding_length", ("hidden_size",)),
    Key("block_count", ("num_hidden_layers",)),
    Key("feed_forward_length", ("intermediate_size",)),
    Key("attention.head_count", ("num_attention_heads",)),
    Key("attention.head_count_kv", ("num_key_value_heads", "num_attention_heads")),
    Key("attention.layer_norm_rms_epsilon", ("rms_norm_eps",), "number"),
)
_MAKERS: dict[ValueKind, Callable[[Any], MetadataEntry]] = {
    "count": count,
    "number": number,
    "flag": flag,
    "text": text,
}
_DEFAULT_BASE = 10000.0

ConfigValues = Mapping[str, Any]


@dataclass(frozen=True)
class Rotary:
    """entries: without the architecture's name before them. tables: tensors of factors, by name.

    refusal: why llama.cpp cannot rotate in this way, "" when it can.
    """

    entries: Mapping[str, MetadataEntry]
    tables: Mapping[str, tuple[float, ...]]
    refusal: str = ""


def settings_of(architecture: GgufArchitecture, config: ConfigValues) -> dict[str, Any]:
    """The config, completed by what `transformers` takes where it is silent."""
    return {**architecture.settings, **config}


def hyperparameters(architecture: GgufArchitecture, values: ConfigValues, vocabulary: int) -> dict[str, MetadataEntry]:
    """The metadata of the network with these settings; vocabulary: rows of the embedding."""
    head = head_size(values)
    found = _entries(_COMMON, values) | {"vocab_size": count(vocabulary)}
    if architecture.rotary:
        found |= {"attention.key_length": count(head), "attention.value_length": count(head)}
        found["rope.dimension_count"] = count(_rotated(architecture, values, head))
        found |= rotary(architecture, values).entries
    found |= _entries(architecture.keys, values)
    found |= {name: _made(kind, value) for name, (kind, value) in architecture.constants.items()}
    return {f"{architecture.key}.{name}": entry for name, entry in found.items()}


def unlike(architecture: GgufArchitecture, values: ConfigValues) -> str:
    """The first setting that llama.cpp would compute in another way, as a phrase; "" when there is none."""
    for fixed in architecture.fixed:
        found = values.get(fixed.config)
        if fixed.present:
            if found is None:
                return f"it has no {fixed.config}, without which llama.cpp does not compute '{architecture.key}'"
            continue
        wanted = (values.get(fixed.equal),) if fixed.equal else fixed.values
        if (fixed.config in values or None not in wanted) and found not in wanted:
            told = " or ".join(str(each) for each in wanted if each is not None) or "nothing"
            return f"its {fixed.config} is {found}, and llama.cpp computes '{architecture.key}' with {told}"
    return rotary(architecture, values).refusal if architecture.rotary else ""


def head_size(values: ConfigValues) -> int:
    """Values of one head of the queries."""
    found = values.get("head_dim")
    return (
        int(found) if found else int(values.get("hidden_size", 0)) // max(1, int(values.get("num_attention_heads", 1)))
    )


def rotary(architecture: GgufArchitecture, values: ConfigValues) -> Rotary:
    """How positions are rotated: bases, scaling, and the factors of single frequencies."""
    parameters = values.get("rope_parameters") or values.get("rope_scaling") or {}
    windows: ConfigValues = {}
    if isinstance(parameters.get("full_attention"), Mapping):
        windows, parameters = parameters.get("sliding_attention") or {}, parameters["full_attention"]
    base = float(parameters.get("rope_theta") or values.get("rope_theta") or _DEFAULT_BASE)
    entries = {"rope.freq_base": number(base)}
    if architecture.rotary == "windows":
        local = windows.get("rope_theta") or values.get("rope_local_base_freq") or _DEFAULT_BASE
        entries["rope.freq_base_swa"] = number(float(local))
    kind = str(parameters.get("rope_type") or parameters.get("type") or "default")
    scale = _SCALINGS.get(kind)
    if scale is None:
        return Rotary(entries, {}, f"its rotary scaling '{kind}' is none that llama.cpp has")
    more, tables = scale(parameters, values, base, head_size(values))
    return Rotary(entries | more, tables)


_Scaled = tuple[dict[str, MetadataEntry], dict[str, tuple[float, ...]]]


def _plain(parameters: ConfigValues, values: ConfigValues, base: float, head: int) -> _Scaled:  # noqa: ARG001 - one signature
    return {}, {}


def _linear(parameters: ConfigValues, values: ConfigValues, base: float, head: int) -> _Scaled:  # noqa: ARG001
    factor = float(parameters.get("factor", 1.0))
    return {"rope.scaling.type": text("linear"), "rope.scaling.factor": number(factor)}, {}


def _yarn(parameters: ConfigValues, values: ConfigValues, base: float, head: int) -> _Scaled:  # noqa: ARG001
    original = parameters.get("original_max_position_embeddings") or values.get("max_position_embeddings", 0)
    every = parameters.get("mscale_all_dim")
    logarithm = {"rope.scaling.yarn_log_multiplier": number(0.1 * float(every))} if every else {}
    return {
        "rope.scaling.type": text("yarn"),
        "rope.scaling.factor": number(float(parameters.get("factor", 1.0))),
        "rope.scaling.original_context_length": count(int(original)),
        "rope.scaling.yarn_beta_fast": number(float(parameters.get("beta_fast") or 32.0)),
        "rope.scaling.yarn_beta_slow": number(float(parameters.get("beta_slow") or 1.0)),
    } | logarithm, {}


def _llama3(parameters: ConfigValues, values: ConfigValues, base: float, head: int) -> _Scaled:  # noqa: ARG001
    """Long waves are stretched by the factor, short ones stay, and those between lie between.

    Source: `transformers`, modeling_rope_utils.py, `_compute_llama3_parameters`.
    """
    factor, low, high = (float(parameters[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(parameters["original_max_position_embeddings"])
    factors = []
    for index in range(0, head, 2):
        turns = original / (2 * math.pi * base ** (index / head))
        share = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1.0 / ((1.0 - share) / factor + share))
    return {}, {"rope_freqs.weight": tuple(factors)}


def _long(parameters: ConfigValues, values: ConfigValues, base: float, head: int) -> _Scaled:  # noqa: ARG001
    """Factors of their own for short and for long contexts.

    Source: `transformers`, modeling_rope_utils.py, `_compute_longrope_parameters`.
    """
    original = float(parameters.get("original_max_position_embeddings") or values["original_max_position_embeddings"])
    stretch = float(parameters.get("factor") or float(values.get("max_position_embeddings", original)) / original)
    factor = parameters.get("attention_factor") or (
        math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
    )
    tables = {f"rope_factors_{kind}.weight": _floats(parameters[f"{kind}_factor"]) for kind in ("long", "short")}
    return {
        "rope.scaling.attn_factor": number(float(factor)),
        "rope.scaling.original_context_length": count(int(original)),
    }, tables


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


_SCALINGS = {"default": _plain, "linear": _linear, "yarn": _yarn, "llama3": _llama3, "longrope": _long, "su": _long}


def _rotated(architecture: GgufArchitecture, values: ConfigValues, head: int) -> int:
    """How many values of a head are rotated."""
    if architecture.rotary_size:
        return int(values[architecture.rotary_size])
    parameters = values.get("rope_parameters") or {}
    share = parameters.get("partial_rotary_factor") or values.get("partial_rotary_factor") or 1.0
    return int(head * float(share))


def _entries(keys: Iterable[Key], values: ConfigValues) -> dict[str, MetadataEntry]:
    return {key.name: entry for key in keys if (entry := _entry(key, values)) is not None}


def _entry(key: Key, values: ConfigValues) -> MetadataEntry | None:
    if key.added:
        return _made(key.kind, sum(values[name] for name in key.config))
    found = next((values[name] for name in key.config if values.get(name) is not None), None)
    return None if found is None else _made(key.kind, found)


def _made(kind: ValueKind, value: Any) -> MetadataEntry:
    return _MAKERS[kind](value)
