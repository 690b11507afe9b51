"""The network of a checkpoint, and what goes into its graph and comes out, by the kind of its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, DynamicCache
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.onnx.layers import CodedLayer
from benchvise.core.progress import Progress
from benchvise.core.runtime.architecture import own_keys
from benchvise.core.weights.weights import Weights

_BATCH, _TOKENS, _PAST = 2, 3, 5
ModuleKind = Callable[..., nn.Module]


@dataclass(frozen=True)
class Graph:
    """What is exported: a module, arguments that it is traced with, and their names and free sizes by place."""

    module: nn.Module
    arguments: tuple[Any, ...]
    free: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def network_problem(checkpoint: Checkpoint) -> str:
    """Why no graph can be made of the checkpoint's network, "" when one can."""
    network = getattr(transformers, checkpoint.architecture, None)
    if network is None or checkpoint.config.get("model_type") not in CONFIG_MAPPING:
        return f"transformers does not know the network '{checkpoint.architecture or 'without a name'}'"
    if getattr(network, "main_input_name", "") not in ("input_ids", "pixel_values"):
        return f"'{checkpoint.architecture}' takes neither tokens nor pictures, and no graph is known for it"
    if bool(checkpoint.config.get("is_encoder_decoder")):
        return f"'{checkpoint.architecture}' has an encoder and a decoder, for which no graph is known"
    return ""


def load_network(weights: Weights) -> nn.Module:
    """The network with dense float32 weights, in evaluation mode. Raises CheckpointError where they do not fit."""
    checkpoint = weights.checkpoint
    config = CONFIG_MAPPING[str(checkpoint.config["model_type"])].from_dict(own_keys(checkpoint.config))
    config._attn_implementation = "eager"
    network = getattr(transformers, checkpoint.architecture)
    state = {layer.tensor.name: weights.dense(layer) for layer in checkpoint.layers}
    model, report = network.from_pretrained(
        None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"The network needs tensors that the checkpoint does not have: {', '.join(missing[:4])}",
            where=checkpoint.path,
            remedy="Is it the whole checkpoint, and the right config.json?",
        )
    loaded: nn.Module = model.requires_grad_(False).eval()
    return loaded


def graph_of(model: nn.Module) -> Graph:
    """The graph of a network from `load_network`: with the keys and values of past tokens where it generates text."""
    config: Any = model.config
    if getattr(model, "main_input_name", "") == "pixel_values":
        return _of_pictures(model, config)
    causal = type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    heads = _past_heads(model) if causal else None
    return _of_text(model, config) if heads is None else _generating(model, heads)


def _past_heads(model: nn.Module) -> list[tuple[int, int]] | None:
    """Heads and their width in the cache of each block; None where the cache holds anything but keys and values."""
    cache = DynamicCache()
    ids = torch.zeros((1, 2), dtype=torch.int64)
    try:
        with torch.no_grad():
            past, _ = with_cache(model, cache, input_ids=ids)
        return [(layer.keys.shape[1], layer.keys.shape[3]) for layer in past.layers]
    except (TypeError, AttributeError, ValueError):
        return None


def with_cache(model: nn.Module, cache: Any, **given: Tensor) -> tuple[Any, Tensor]:
    """The cache after a call, and the logits, float32 [batch, tokens, vocabulary].

    given: `input_ids` and what belongs to them, int64 [batch, tokens]. `transformers` before 5.24 has another word for
    the cache.
    """
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    out = model(**given, **{name: cache}, use_cache=True)
    after = out.get("cache")
    return out.past_key_values if after is None else after, out.logits


class _Generating(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past: list[Any]) -> Any:
        cache = DynamicCache()
        for number, (keys, values) in enumerate(past):
            cache.update(keys, values, number)
        given = {"attention_mask": attention_mask, "position_ids": position_ids}
        past_after, logits = with_cache(self.model, cache, input_ids=input_ids, **given)
        return logits, [(layer.keys, layer.values) for layer in past_after.layers]


class _Plain(nn.Module):
    """The first output of a network, the others left out; more: names of the arguments after the first."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *arguments: Tensor) -> Tensor:
        out: Tensor = self.model(**dict(zip(self.names, arguments, strict=True)), return_dict=False)[0]
        return out


def _generating(model: nn.Module, heads: list[tuple[int, int]]) -> Graph:
    past = [tuple(torch.zeros((_BATCH, count, _PAST, width)) for _ in range(2)) for count, width in heads]
    ids = torch.arange(_BATCH * _TOKENS).view(_BATCH, _TOKENS)
    positions = torch.arange(_PAST, _PAST + _TOKENS)[None].repeat(_BATCH, 1)
    mask = torch.ones((_BATCH, _PAST + _TOKENS), dtype=torch.int64)
    tokens, each = {0: "batch", 1: "tokens"}, {0: "batch", 2: "past"}
    named = [f"{number}.{part}" for number in range(len(heads)) for part in ("key", "value")]
    return Graph(
        _Generating(model),
        (ids, mask, positions, past),
        (tokens, {0: "batch", 1: "all_tokens"}, tokens, [(each, each) for _ in heads]),
        ("input_ids", "attention_mask", "position_ids", *(f"past_key_values.{name}" for name in named)),
        ("logits", *(f"present.{name}" for name in named)),
    )


def _of_text(model: nn.Module, config: Any) -> Graph:
    names: tuple[str, ...] = ("input_ids", "attention_mask")
    if getattr(config, "type_vocab_size", 0) > 1:
        names = (*names, "token_type_ids")
    arguments = tuple(torch.ones((_BATCH, _TOKENS), dtype=torch.int64) for _ in names)
    free = tuple({0: "batch", 1: "tokens"} for _ in names)
    return Graph(_Plain(model, names), arguments, (free,), names, (_first_output(model),))


def _of_pictures(model: nn.Module, config: Any) -> Graph:
    size = getattr(config, "image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    pictures = torch.zeros((_BATCH, getattr(config, "num_channels", 3), height, width))
    return Graph(
        _Plain(model, ("pixel_values",)), (pictures,), (({0: "batch"},),), ("pixel_values",), (_first_output(model),)
    )


def _first_output(model: nn.Module) -> str:
    return "logits" if "For" in type(model).__name__ else "last_hidden_state"


def put_coded_modules(
    model: nn.Module, plan: ExportPlan, weights: Weights, kinds: Mapping[str, ModuleKind], progress: Progress
) -> None:
    """Put a module with codes into the place of each packed layer; progress counts the bytes of all layers.

    kinds: what makes such a module of a shape, a layout, tensors of the layout's dtypes and a bias, by format.
    """
    replaced: dict[str, nn.Module] = {}
    for planned in plan.layers:
        progress.check_cancelled()
        if isinstance(planned, CodedLayer):
            path = plan.path_of(planned.layer)
            prefix = f"{planned.layer.name}."
            tensors = {name.removeprefix(prefix): values for name, values in planned.blocks(weights)}
            bias = getattr(model.get_submodule(path), "bias", None)
            kind = kinds[planned.layout.format]
            replaced[path] = kind(planned.layer.matrix_shape, planned.layout, tensors, bias)
        progress.advance(sum(tensor.nbytes for tensor in planned.tensors()))
    for path, module in replaced.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, module)


def verify_codes(
    plan: ExportPlan,
    weights: Weights,
    stored: Mapping[str, Any],
    same: Callable[[Any, Tensor], bool],
    progress: Progress,
) -> None:
    """Hold what a file has of every packed layer against its codes, scales and zero points.

    stored: by the names of tensors in the graph; what the exported output does not depend on is not in it. same:
    whether such a value equals a tensor [...] of the layout's dtype. Raises RuntimeError where anything differs.
    """
    for planned in plan.layers:
        progress.check_cancelled()
        if isinstance(planned, CodedLayer):
            for name, values in planned.blocks(weights):
                full = f"model.{plan.path_of(planned.layer)}.{name.removeprefix(f'{planned.layer.name}.')}"
                if full in stored and not same(stored[full], values):
                    raise RuntimeError(f"'{full}' was not written with the codes that were computed")
