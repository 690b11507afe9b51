"""How a treated layer is written in the compressed-tensors formats. Arithmetic of names and shapes; no tensors.

What loads and computes right was measured with compressed-tensors 0.19 and 0.20 under transformers 5.17 and 5.23:

* symmetric codes of 2 to 8 bits as `pack-quantized`: both versions, every shape and granularity;
* zero points packed along dimension 0, as `pack-quantized` wants them: 5.17 only; 5.23 refuses their shape;
* zero points of 8-bit layers as `int-quantized` (int8 codes and zero points as they are): both versions;
* the zero point of a whole tensor, which `pack-quantized` does not pack: both versions;
* quantised inputs, with scales per token or fixed, beside packed and unpacked codes: 5.23;
* FP8 E4M3 as `float-quantized`, per tensor, row or block, with scales in the layer's dtype, which loaders hold them in;
* MXFP4, MXFP8 and NVFP4 of bfloat16 layers: loaders decode them to bfloat16, whatever the layer's dtype.

So an asymmetric layer of b < 8 bits is written with symmetric codes of b + 1 bits, which hold u − z exactly: the
same scales, the same values, and every version loads it, for one bit per weight more. Scales that blocks of rows share
are written for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.activations import INPUT_SCALE, Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.grouping import words
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.scheme import Scheme
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.settings import settled

PACKED = "pack-quantized"
UNPACKED = "int-quantized"
FP8 = "float-quantized"
MXFP4 = "mxfp4-pack-quantized"
MXFP8 = "mxfp8-quantized"
NVFP4 = "nvfp4-pack-quantized"
E4M3 = "float8_e4m3fn"
MIXED = "mixed-precision"


@dataclass(frozen=True)
class Layout:
    """What a config group says about its layers.

    kind: "int" or "float". group_size is None unless `strategy` is "group" or "tensor_group", block (rows, columns)
    unless it is "block". inputs: how the layers' inputs are quantised, None for not at all. scale_dtype: of scales that
    are codes themselves.
    """

    format: str
    bits: int
    symmetric: bool
    strategy: str
    group_size: int | None
    inputs: Activations | None = None
    kind: str = "int"
    block: tuple[int, int] | None = None
    scale_dtype: str = ""

    @property
    def weights_args(self) -> dict[str, object]:
        """The `weights` of a config group; its reader refuses unknown keys."""
        more: dict[str, object] = {} if self.block is None else {"block_structure": list(self.block)}
        if self.scale_dtype:
            more["scale_dtype"] = f"torch.{self.scale_dtype}"
        return {
            "num_bits": self.bits,
            "type": self.kind,
            "symmetric": self.symmetric,
            "strategy": self.strategy,
            "group_size": self.group_size,
            "dynamic": False,
            "actorder": None,
            "observer": "minmax",
            "observer_kwargs": {},
            **more,
        }

    @property
    def inputs_args(self) -> dict[str, object] | None:
        """The `input_activations` of a config group."""
        if self.inputs is None:
            return None
        dynamic = self.inputs.mode == "dynamic"
        return {
            "num_bits": 8,
            "type": "int" if self.inputs.format == "int8" else "float",
            "symmetric": True,
            "strategy": "token" if dynamic else "tensor",
            "group_size": None,
            "dynamic": dynamic,
            "actorder": None,
            "observer": None if dynamic else "minmax",
            "observer_kwargs": {},
        }


@lru_cache(maxsize=1024)
def layout_of(treatment: Treatment) -> Layout:
    """The layout that holds the layer's values exactly and loads with every version that was measured.

    Raises TypeError for schemes that have none.
    """
    scheme, inputs = treatment.scheme, treatment.activations
    if inputs is not None:
        # Layers that differ in how their scale was found are of one group.
        inputs = Activations(inputs.format, inputs.mode)
    match scheme:
        case Integer():
            return _integer_layout(scheme, inputs)
        case Floating():
            block = (scheme.block_rows, scheme.block_columns) if scheme.granularity == "block" else None
            return Layout(FP8, 8, True, scheme.granularity, None, inputs, "float", block)
        case Microscaling(number="e2m1"):
            return Layout(MXFP4, 4, True, "group", scheme.block, inputs, "float", scale_dtype="uint8")
        case Microscaling():
            return Layout(MXFP8, 8, True, "group", scheme.block, inputs, "float", scale_dtype="uint8")
        case NvFloat4():
            return Layout(NVFP4, 4, True, "tensor_group", scheme.block, inputs, "float", scale_dtype="float8_e4m3fn")
    raise TypeError(f"{scheme.key} has no packed form")


def by_row(scheme: Integer) -> Integer:
    """The scheme that gives the same values with scales for each row, where blocks of rows share them."""
    return settled(replace(scheme, granularity="group")) if scheme.granularity == "block" else scheme


def _integer_layout(scheme: Integer, inputs: Activations | None) -> Layout:
    scheme = by_row(scheme)
    group_size = scheme.group_size if scheme.granularity == "group" else None
    if scheme.bits == 8 and (inputs is not None or not (scheme.symmetric or scheme.granularity == "tensor")):
        return Layout(UNPACKED, 8, scheme.symmetric, scheme.granularity, group_size, inputs)
    if scheme.symmetric or scheme.granularity == "tensor":
        return Layout(PACKED, scheme.bits, scheme.symmetric, scheme.granularity, group_size, inputs)
    return Layout(PACKED, scheme.bits + 1, True, scheme.granularity, group_size, inputs)


def scheme_problem(scheme: Scheme, layer: Layer) -> str:
    """Why the formats cannot hold the values of `layer` under `scheme`, "" when they can."""
    columns = layer.matrix_shape[1]
    match scheme:
        case Integer(float_zero=True):
            return "no packed form has zero points that are floating numbers"
        case Integer():
            return ""
        case Floating(number="e5m2") | Microscaling(number="e5m2"):
            return "of the 8-bit floats, the packed forms hold E4M3 alone"
        case Floating(scales="float32") if layer.dtype != "float32":
            return f"loaders round float32 scales to the layer's {layer.dtype}; 'scales: weight' finds them in it"
        case Floating():
            return ""
        case Microscaling() | NvFloat4():
            if layer.dtype != "bfloat16":
                return f"loaders decode {scheme.tag} to bfloat16, and the layer is {layer.dtype}"
            return f"blocks of {scheme.block} do not divide its {columns} inputs" if columns % scheme.block else ""
    return f"{scheme.title.lower()} layers have no packed form"


def adaptations(treatment: Treatment) -> tuple[str, ...]:
    """What the layout holds otherwise than the scheme, with the same values, as phrases."""
    scheme, found = treatment.scheme, []
    if isinstance(scheme, Integer):
        bits = layout_of(treatment).bits
        if bits != scheme.bits:
            found.append(
                f"{bits}-bit symmetric codes, which hold the same values exactly and take one bit per weight more: "
                "transformers 5.23 refuses packed zero points"
            )
        if by_row(scheme) != scheme:
            found.append("scales for each row, where blocks of rows share them: packed codes have no such blocks")
    return tuple(found)


def layout_tensors(layer: Layer, treatment: Treatment) -> tuple[StoredTensor, ...]:
    """The tensors that `layer` under `treatment` is written as, with their full names."""
    layout = layout_of(treatment)
    rows, columns = layer.matrix_shape
    if isinstance(treatment.scheme, Integer):
        treatment = replace(treatment, scheme=by_row(treatment.scheme))
    stored = {tensor.name: tensor for tensor in treatment.storage(layer)}
    scale = stored["weight_scale"]
    scales = (1,) if layout.strategy == "tensor" else scale.shape
    tensors = [StoredTensor("weight_scale", layout.scale_dtype or scale.dtype, scales)]
    if layout.format == PACKED:
        tensors.append(StoredTensor("weight_packed", "int32", (rows, words(columns, layout.bits))))
        tensors.append(StoredTensor("weight_shape", "int64", (2,)))
    elif layout.bits == 4:
        tensors.append(StoredTensor("weight_packed", "uint8", (rows, columns // 2)))
    else:
        tensors.append(StoredTensor("weight", "int8" if layout.kind == "int" else E4M3, (rows, columns)))
    if not layout.symmetric:
        tensors.append(StoredTensor("weight_zero_point", "int8", scales))
    tensors += [stored[name] for name in ("weight_global_scale", INPUT_SCALE) if name in stored]
    return tuple(replace(tensor, name=f"{layer.name}.{tensor.name}") for tensor in tensors)


def quantization_config(packed: Mapping[str, Layout], dense: Sequence[str]) -> dict[str, object]:
    """The `quantization_config` of config.json.

    packed: the layout of each packed layer by its module's name, in the checkpoint's order, not empty.
    dense: names of the linear modules that are not packed.
    """
    groups: dict[Layout, list[str]] = {}
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


def _config_group(layout: Layout, names: Sequence[str]) -> dict[str, object]:
    # Loaders find the group of stacked experts by a pattern that names them.
    experts = {name for name in names if ".experts." in name}
    return {
        "targets": [name for name in names if name not in experts] + (["re:.*\\.experts\\..*"] if experts else []),
        "weights": layout.weights_args,
        "input_activations": layout.inputs_args,
        "output_activations": None,
        "format": layout.format,
    }
