"""Which modules of the network a loader will make Linear, and which can be packed: asked of `transformers` itself.

The network is built without values, packed and initialised as its loader does it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, PreTrainedModel
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationMethod

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.recent import Recent
from benchvise.core.runtime.architecture import own_keys
from benchvise.core.runtime.checkpoint_names import CheckpointNames
from benchvise.core.runtime.experts import spellings

_LOG = logging.getLogger(__name__)
_KNOWN: Recent[tuple[str, tuple[str, ...]], NetworkModules] = Recent(4)
"""By config and layers: a panel asks again at every edit, and building a large network takes a second."""


def modules_of(checkpoint: Checkpoint) -> NetworkModules | None:
    """What the loader makes of the checkpoint's layers; None where no network can be built here.

    Code beside a checkpoint is never run, so networks that `transformers` does not know stay unknown.
    """
    if not checkpoint.architecture:
        return None
    key = (json.dumps(checkpoint.config, sort_keys=True, default=str), tuple(x.tensor.name for x in checkpoint.layers))
    found = _KNOWN.take(key)
    if found is None:
        model = network_on_meta(checkpoint.config)
        if model is None:
            return None
        linear = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
        paths = dict(_paths(model, checkpoint.layers, linear))
        rebuilt = tuple(_rebuilt(model))
        found = NetworkModules(frozenset(linear), paths, frozenset(_initialised(model, linear)), rebuilt)
    _KNOWN.put(key, found)
    return found


def network_on_meta(config: Mapping[str, object]) -> PreTrainedModel | None:
    """The network that a parsed config.json describes, its quantization left out, without values; None where it cannot
    be built."""
    architectures, model_type = config.get("architectures"), config.get("model_type")
    name = architectures[0] if isinstance(architectures, list) and architectures else ""
    network = getattr(transformers, str(name), None)
    if network is None or model_type not in CONFIG_MAPPING:
        return None
    try:
        with torch.device("meta"):
            model: PreTrainedModel = network._from_config(CONFIG_MAPPING[model_type].from_dict(own_keys(dict(config))))
    except Exception as error:  # noqa: BLE001 - a config may be wrong in any way; the export then goes by names
        _LOG.warning("transformers cannot build %s from this config: %s", name, error)
        return None
    return model


def _paths(
    model: PreTrainedModel, layers: tuple[Layer, ...], linear: Mapping[str, nn.Module]
) -> Iterator[tuple[str, str]]:
    """Pairs (layer, module) where the codes under the layer's name become those of the module."""
    names = CheckpointNames(model)
    for layer in layers:
        found = names.of(f"{layer.name}.weight_packed") if layer.tensor.name == f"{layer.name}.weight" else None
        if found is None or found.place is not None:
            continue
        for path in spellings(model, found.name.removesuffix(".weight_packed")):
            if path in linear:
                yield layer.name, path
                break


def _rebuilt(model: PreTrainedModel) -> Iterator[str]:
    """The paths of modules that the loader of packed folders replaces, which then have other parameters."""
    before = dict(model.named_modules())
    loader = SimpleNamespace(quantization_config=SimpleNamespace(quant_method=QuantizationMethod.COMPRESSED_TENSORS))
    HfQuantizer._convert_model_for_quantization(loader, model)
    after = dict(model.named_modules())
    replaced = [path for path, module in before.items() if after.get(path) is not module]
    for path in replaced:
        if path in after and after[path].state_dict().keys() != before[path].state_dict().keys():
            yield path


def _initialised(model: PreTrainedModel, linear: Mapping[str, nn.Module]) -> Iterator[str]:
    """The paths of Linear modules without whose `weight` the network's initialisation fails."""
    paths = {id(module): path for path, module in linear.items()}
    weights = {path: module._parameters.pop("weight") for path, module in linear.items()}
    for owner, module in _initialisations(model, model):
        if not _fails(owner, module):
            continue
        inner = [paths[id(part)] for part in module.modules() if id(part) in paths]
        _put_back(linear, weights, inner)
        for path in inner:
            del linear[path]._parameters["weight"]
            if _fails(owner, module):
                yield path
            _put_back(linear, weights, [path])
        for path in inner:
            linear[path]._parameters.pop("weight", None)


def _put_back(linear: Mapping[str, nn.Module], weights: Mapping[str, Any], paths: list[str]) -> None:
    for path in paths:
        linear[path]._parameters["weight"] = weights[path]


def _initialisations(owner: PreTrainedModel, module: nn.Module) -> Iterator[tuple[PreTrainedModel, nn.Module]]:
    """Every module with the network whose `_init_weights` it is given to, as `PreTrainedModel.initialize_weights`."""
    for child in module.children():
        yield from _initialisations(child if isinstance(child, PreTrainedModel) else owner, child)
    yield owner, module


@torch.no_grad()
def _fails(owner: PreTrainedModel, module: nn.Module) -> bool:
    try:
        owner._init_weights(module)
    except AttributeError as error:
        return "'weight'" in str(error)
    except Exception as error:  # noqa: BLE001 - a fault that has nothing to do with packing shows in the trial
        _LOG.debug("%s cannot be initialised without values: %s", type(module).__name__, error)
    return False
