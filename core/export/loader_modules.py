"""Which modules of the network a loader will make Linear: asked of `transformers` itself, without any weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
import transformers
from transformers import CONFIG_MAPPING

from benchvise.core.runtime.architecture import own_keys

_LOG = logging.getLogger(__name__)


def linear_modules(config: Mapping[str, object]) -> frozenset[str] | None:
    """Names of all torch Linear modules of the network that `config` describes; None when it cannot be built here.

    config: a parsed config.json without quantization. Code beside a checkpoint is never run, so networks that
    `transformers` does not know stay unknown.
    """
    architectures, model_type = config.get("architectures"), config.get("model_type")
    name = architectures[0] if isinstance(architectures, list) and architectures else ""
    network = getattr(transformers, str(name), None)
    if network is None or model_type not in CONFIG_MAPPING:
        return None
    try:
        with torch.device("meta"):
            model = network._from_config(CONFIG_MAPPING[model_type].from_dict(own_keys(dict(config))))
    except Exception as error:  # noqa: BLE001 - a config may be wrong in any way; the export then goes by names
        _LOG.warning("transformers cannot build %s from this config: %s", name, error)
        return None
    return frozenset(path for path, module in model.named_modules() if isinstance(module, torch.nn.Linear))
