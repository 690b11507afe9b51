"""The `quantization_config` of compressed-tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.methods.activations import Activations

MIXED = "mixed-precision"


def quantization_config(packed: Mapping[str, PackedLayout], dense: Sequence[str]) -> dict[str, object]:
    """The `quantization_config` of config.json.

    packed: the layout of each packed layer by its module's name, in the checkpoint's order, not empty.
    dense: names of the linear modules that are not packed.
    """
    groups: dict[PackedLayout, list[str]] = {}
    for name, layout in packed.items():
        groups.setdefault(layout, []).append(name)
    formats = {layout.format for layout in groups}
    return {
        "quant_method": "compressed-tensors",
        "format": formats.pop() if len(formats) == 1 else MIXED,
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
        "ignore": list(dense),
        "config_groups": {
            f"group_{number}": _config_group(layout, ["Linear"] if len(groups) == 1 else names)
            for number, (layout, names) in enumerate(groups.items())
        },
    }


def _config_group(layout: PackedLayout, names: Sequence[str]) -> dict[str, object]:
    # Loaders find the group of stacked experts by a pattern that names them.
    experts = {name for name in names if ".experts." in name}
    return {
        "targets": [name for name in names if name not in experts] + (["re:.*\\.experts\\..*"] if experts else []),
        "weights": _weights(layout),
        "input_activations": _inputs(layout.inputs),
        "output_activations": None,
        "format": layout.format,
    }


def _weights(layout: PackedLayout) -> dict[str, object]:
    """The `weights` of a config group; its reader refuses unknown keys."""
    more: dict[str, object] = {} if layout.block is None else {"block_structure": list(layout.block)}
    if layout.scale_dtype:
        more["scale_dtype"] = f"torch.{layout.scale_dtype}"
    return {
        "num_bits": layout.bits,
        "type": layout.kind,
        "symmetric": layout.symmetric,
        "strategy": layout.strategy,
        "group_size": layout.group_size,
        "dynamic": False,
        "actorder": None,
        "observer": "minmax",
        "observer_kwargs": {},
        **more,
    }


def _inputs(inputs: Activations | None) -> dict[str, object] | None:
    """The `input_activations` of a config group."""
    if inputs is None:
        return None
    dynamic = inputs.mode == "dynamic"
    return {
        "num_bits": 8,
        "type": "int" if inputs.format == "int8" else "float",
        "symmetric": True,
        "strategy": "token" if dynamic else "tensor",
        "group_size": None,
        "dynamic": dynamic,
        "actorder": None,
        "observer": None if dynamic else "minmax",
        "observer_kwargs": {},
    }
