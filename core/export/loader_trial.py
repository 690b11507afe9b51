"""A packed folder given to the loader of `transformers` before it is written: names and shapes, no values."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from io import StringIO
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.modeling_utils import LoadStateDictConfig
from transformers.quantizers.auto import get_hf_quantizer

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.checkpoint.tensors import torch_dtype

_LOG = logging.getLogger(__name__)
_META = torch.device("meta")
_DROPPED = ("auto_map",)


def loader_problem(config: Mapping[str, Any], tensors: Iterable[StoredTensor], package: str) -> str | None:
    """Why `transformers` does not load a folder with this config.json and these tensors: "" when it does.

    None when that cannot be found out here: without `package`, which the loader needs, or for a network that it does
    not know. Missing tensors count only where the folder's own layers lack them, not those that the original lacks.
    """
    architectures, model_type = config.get("architectures"), config.get("model_type")
    network = getattr(transformers, str(architectures[0]), None) if architectures else None
    if network is None or model_type not in CONFIG_MAPPING or find_spec(package) is None:
        return None
    state = {each.name: torch.empty(each.shape, dtype=torch_dtype(each.dtype), device=_META) for each in tensors}
    try:
        parsed = CONFIG_MAPPING[model_type].from_dict({k: v for k, v in config.items() if k not in _DROPPED})
        with _quiet():
            report = _load(network, parsed, state)
    except ImportError as error:
        _LOG.info("the loader of %s cannot be tried here: %s", model_type, error)
        return None
    except Exception as error:  # noqa: BLE001 - whatever a loader raises is the answer
        return f"transformers {transformers.__version__} does not load it packed: {_first_line(error)}"
    for what, found in report.items():
        if found:
            names = ", ".join(sorted(found)[:3])
            return f"transformers {transformers.__version__} finds {len(found)} {what}, for example {names}"
    return ""


def _load(network: Any, config: Any, state: dict[str, torch.Tensor]) -> dict[str, set[str]]:
    """As `PreTrainedModel.from_pretrained` from here on, with all weights on meta."""
    quantizer, config, _ = get_hf_quantizer(config, None, None, True, {})
    dtype = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    with torch.device(_META):
        model = network(config)
        quantizer.preprocess_model(model=model, dtype=dtype, device_map={"": _META}, checkpoint_files=None)
    loading = LoadStateDictConfig(
        device_map={"": _META},
        dtype=dtype,
        dtype_plan=model._get_dtype_plan(dtype),
        hf_quantizer=quantizer,
        ignore_mismatched_sizes=True,  # they are looked at below
        weight_mapping=get_model_conversion_mapping(model, None, quantizer),
    )
    info, _ = network._load_pretrained_model(model, state, None, loading)
    info = network._finalize_model_loading(model, loading, info)
    codes = {name for name in info.missing_keys if re.search(r"\.(weight|qweight|qzeros|scales|g_idx)(_\w+)?$", name)}
    # Without values, experts are decoded to shapes that are a bound of the real ones.
    mismatched = {str(key[0]) for key in info.mismatched_keys if ".experts." not in str(key[0])}
    return {
        "tensors that it has no place for": set(info.unexpected_keys),
        "tensors missing": codes,
        "tensors of another shape": mismatched,
        "errors": {_first_line(error) for error in (*info.error_msgs, *info.conversion_errors.values())},
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and remarks of the compressed-tensors library, if that is what loads."""
    loguru = sys.modules.get("loguru")
    if loguru is not None:
        loguru.logger.disable("compressed_tensors")
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        if loguru is not None:
            loguru.logger.enable("compressed_tensors")


def _first_line(error: object) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0][:300]
