"""What a `quantization_config` of compressed-tensors says about each layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from benchvise.core.errors import CheckpointError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import parse_settings

PACKED_METHOD = "compressed-tensors"
"""The `quant_method` of folders whose inputs may be quantised too."""

_PACKED = ("pack-quantized", "mxfp4-pack-quantized", "nvfp4-pack-quantized")
_FORMATS = (*_PACKED, "int-quantized", "float-quantized", "mxfp8-quantized", "mixed-precision")


def treatment_reader(config: Mapping[str, Any], where: str) -> Callable[[str, bool], tuple[Scheme, Activations | None]]:
    """A function from a module's name, and whether its codes are packed, to its scheme and what its inputs undergo.

    Raises CheckpointError, then or when a layer is asked for, when the checkpoint is in a form that is not read.
    """
    method = config.get("quant_method", "an unnamed method")
    if method != PACKED_METHOD:
        raise _not_read(f"It was quantised by {method}", where)
    if config.get("format") not in _FORMATS:
        raise _not_read(f"Its format is {config.get('format')!r}", where)
    groups = [group for group in (config.get("config_groups") or {}).values() if isinstance(group, dict)]
    if not groups:
        raise _not_read("Its quantization_config has no config_groups", where)

    def treatment_of(name: str, packed: bool) -> tuple[Scheme, Activations | None]:
        group = _group_of(name, groups)
        form = group.get("format") or config["format"]
        if (form in _PACKED) != packed and form != "mixed-precision":
            raise _not_read(f"'{name}' is not stored as its format {form!r} says", where)
        return _scheme(name, group, packed, where), _activations(name, group, where)

    return treatment_of


def _group_of(name: str, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The group that targets a module: by its name, else by a pattern, else (a class such as Linear) the first."""
    by_pattern = [
        group
        for group in groups
        if any(target.startswith("re:") and re.match(target[3:], name) for target in group.get("targets", ()))
    ]
    by_name = [group for group in groups if name in group.get("targets", ())]
    by_class = [group for group in groups if any(target.isidentifier() for target in group.get("targets", ()))]
    return (by_name or by_pattern or by_class or groups)[0]


def _scheme(name: str, group: dict[str, Any], packed: bool, where: str) -> Scheme:
    weights = group.get("weights") or {}
    size, bits = int(weights.get("group_size") or 0), int(weights.get("num_bits") or 0)
    strategy = str(weights.get("strategy") or ("group" if size > 0 else "channel" if size else "tensor"))
    kind = weights.get("type", "int")
    found = _float(bits, strategy, size, weights) if kind == "float" else _integer(bits, strategy, size, weights)
    if found is None or (not packed and bits != 8):
        order = f", order {weights['actorder']!r}" if weights.get("actorder") else ""
        grouped = f" of {size}" if size > 0 else ""
        raise _not_read(f"'{name}' has {bits}-bit codes of type {kind!r}, strategy {strategy!r}{grouped}{order}", where)
    return found


def _integer(bits: int, strategy: str, size: int, weights: Mapping[str, Any]) -> Integer | None:
    if bits not in range(2, 9) or weights.get("actorder") in ("group", "dynamic"):
        return None
    symmetric = bool(weights.get("symmetric", True))
    match strategy:
        case "group":
            return Integer(bits=bits, symmetric=symmetric, granularity="group", group_size=size)
        case "tensor" | "channel":
            return Integer(bits=bits, symmetric=symmetric, granularity=strategy)
    return None


def _float(bits: int, strategy: str, size: int, weights: Mapping[str, Any]) -> Scheme | None:
    match (bits, strategy, size):
        case (4, "group", Microscaling.block):
            return Microscaling()
        case (8, "group", Microscaling.block):
            return Microscaling(number="e4m3")
        case (4, "tensor_group", NvFloat4.block):
            return NvFloat4()
        case (8, "tensor" | "channel", _):
            return Floating(granularity=strategy, scales="weight")
        case (8, "block", _):
            rows, columns = weights.get("block_structure") or (0, 0)
            return Floating(granularity="block", block_rows=rows, block_columns=columns, scales="weight")
    return None


def _activations(name: str, group: dict[str, Any], where: str) -> Activations | None:
    if group.get("output_activations"):
        raise _not_read(f"The outputs of '{name}' are quantised too", where)
    inputs = group.get("input_activations")
    if not inputs:
        return None
    form = {"int": "int8", "float": "fp8"}.get(str(inputs.get("type", "int")))
    mode = {("token", True): "dynamic", ("tensor", False): "static"}.get(
        (str(inputs.get("strategy")), bool(inputs.get("dynamic", False)))
    )
    if form is None or mode is None or inputs.get("num_bits", 8) != 8 or not inputs.get("symmetric", True):
        raise _not_read(f"The inputs of '{name}' are quantised as {inputs}", where)
    return parse_settings(Activations, {"format": form, "mode": mode}, where=where)


def _not_read(what: str, where: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint is quantised in a form that is not read here: {what[0].lower()}{what[1:]}",
        where=where,
        remedy="Open the original that it was made from, or a pack-quantized export of it.",
    )
