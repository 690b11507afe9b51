"""One layer as the compressed-tensors formats store it, seen as its scheme stores it.

Source: vllm-project/compressed-tensors, compressors/pack_quantized, naive_quantized, mxfp4, mxfp8 and nvfp4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.tensors import load_rows, load_tensor
from benchvise.core.errors import CheckpointError
from benchvise.core.kernels.packing import pack_rows
from benchvise.core.methods.activations import INPUT_SCALE, Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.grouping import cells, words
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.schemes.integer_grid import pack_columns

PARTS = (
    "weight", "weight_packed", "weight_scale", "weight_global_scale", "weight_zero_point", "weight_shape", INPUT_SCALE,
)  # fmt: skip
"""What comes after the layer's name."""

PackedScheme = Integer | Floating | Microscaling | NvFloat4
_WORD_BYTES = 4
_E4M3 = "float8_e4m3fn"


@dataclass(frozen=True)
class PackedLayer:
    """The tensors of one module by what comes after its name, and what its config makes of them."""

    name: str
    parts: Mapping[str, TensorEntry]
    scheme: PackedScheme
    activations: Activations | None

    def checked_entry(self) -> TensorEntry:
        """The dense tensor that the layer stands for. It lies beyond the end of its file, so that nobody reads codes.

        Raises CheckpointError where tensors do not fit the config.
        """
        shape = self._shape()
        if min(shape) < 1:
            raise self._unfit(f"says that its shape is {list(shape)}")
        for part, expected in self._expected(shape).items():
            found = (self.parts[part].dtype, self.parts[part].shape) if part in self.parts else None
            if found != expected:
                said = f"holds {part} {found[0]} {list(found[1])}" if found else f"has no {part}"
                raise self._unfit(
                    f"{said}, but {self.scheme.tag} of {list(shape)} is {expected[0]} {list(expected[1])}"
                )
        self._check_scales(shape)
        if self.activations is not None and self.activations.mode == "static":
            scale = self.parts.get(INPUT_SCALE)
            if scale is None or scale.elements != 1:
                raise self._unfit("has no single fixed scale for its inputs")
        return self._dense(shape)

    def rows(self, start: int, stop: int) -> dict[str, Tensor]:
        """Rows of the codes as the scheme stores them."""
        if "weight_packed" not in self.parts:
            codes = load_rows(self.parts["weight"], start, stop)
            if isinstance(self.scheme, Integer):
                return {"weight_packed": pack_rows(_unsigned(codes, 8), 8)}
            return {"weight": codes}
        packed = load_rows(self.parts["weight_packed"], start, stop)
        if packed.dtype == torch.uint8:
            packed = pad(packed, (0, -packed.shape[1] % _WORD_BYTES)).view(torch.int32)
        return {"weight_packed": packed}

    def tail(self) -> dict[str, Tensor]:
        """All other tensors as the scheme stores them: scales and zero points."""
        scale = load_tensor(self.parts["weight_scale"])
        if isinstance(self.scheme, Integer):
            return self._integer_tail(scale.reshape(1, 1) if scale.numel() == 1 else scale)
        if isinstance(self.scheme, Microscaling):
            return {"weight_scale": scale.view(torch.float8_e8m0fnu)}
        if isinstance(self.scheme, NvFloat4):
            divisor = load_tensor(self.parts["weight_global_scale"]).float().reshape(1)
            return {"weight_scale": scale, "weight_global_scale": divisor}
        return {"weight_scale": scale.reshape(cells(self._shape(), self.scheme.cell))}

    def input_scale(self) -> Tensor | None:
        """The fixed scale of the layer's inputs, float32 [1]."""
        if self.activations is None or self.activations.mode == "dynamic":
            return None
        return load_tensor(self.parts[INPUT_SCALE]).float().reshape(1)

    def _integer_tail(self, scale: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.scheme, Integer)
        if self.scheme.symmetric:
            return {"weight_scale": scale}
        zero = load_tensor(self.parts["weight_zero_point"])
        if zero.dtype == torch.int8:
            zero = pack_columns(_unsigned(zero, self.scheme.bits).reshape(scale.shape), self.scheme.bits)
        return {"weight_scale": scale, "weight_zero_point": zero}

    def _shape(self) -> tuple[int, int]:
        codes = self.parts.get("weight_packed") or self.parts.get("weight")
        if codes is None or len(codes.shape) != 2:
            raise self._unfit("has scales but no codes")
        rows, columns = codes.shape
        if "weight_packed" not in self.parts:
            return rows, columns
        if not isinstance(self.scheme, Integer):
            return rows, 2 * columns
        if "weight_shape" not in self.parts or self.parts["weight_shape"].elements != 2:
            raise self._unfit("has no weight_shape, so its inputs are not known")
        rows, columns = (int(size) for size in load_tensor(self.parts["weight_shape"]))
        return rows, columns

    def _expected(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Dtype and shape of what holds codes."""
        rows, columns = shape
        if isinstance(self.scheme, Integer):
            if "weight" in self.parts:
                return {"weight": ("int8", shape)}
            return {"weight_packed": ("int32", (rows, words(columns, self.scheme.bits)))}
        if isinstance(self.scheme, Floating) or self.scheme.tag.startswith("mxfp8"):
            expected: dict[str, tuple[str, tuple[int, ...]]] = {"weight": (_E4M3, shape)}
        else:
            expected = {"weight_packed": ("uint8", (rows, columns // 2))}
        if isinstance(self.scheme, NvFloat4):
            return expected | {"weight_scale": (_E4M3, cells(shape, self.scheme.cell))}
        if isinstance(self.scheme, Microscaling):
            return expected | {"weight_scale": ("uint8", cells(shape, self.scheme.cell))}
        return expected

    def _check_scales(self, shape: tuple[int, int]) -> None:
        rows, columns = shape
        if isinstance(self.scheme, Integer):
            group = self.scheme.group_columns(columns)
            scales = (1, 1) if self.scheme.granularity == "tensor" else (rows, columns // group)
            divides = columns % group == 0
        else:
            scales = cells(shape, self.scheme.cell)
            divides = isinstance(self.scheme, Floating) or columns % self.scheme.block == 0
        scale = self.parts["weight_scale"]
        if not divides or scale.elements != prod(scales):
            raise self._unfit(f"has scales {list(scale.shape)}, which do not fit {self.scheme.tag}")
        if isinstance(self.scheme, Integer) and not self.scheme.symmetric:
            zero = self.parts.get("weight_zero_point")
            packed = (words(scales[0], self.scheme.bits), scales[1])
            fits = zero is not None and (
                (zero.dtype == "int8" and zero.elements == prod(scales))
                or (zero.dtype == "int32" and zero.shape == packed)
            )
            if not fits:
                raise self._unfit("has no zero points that fit its scales")
        if isinstance(self.scheme, NvFloat4):
            divisor = self.parts.get("weight_global_scale")
            if divisor is None or divisor.elements != 1:
                raise self._unfit("has no single weight_global_scale")

    def _dense(self, shape: tuple[int, int]) -> TensorEntry:
        """Loaders decode codes to the dtype of their scales, and scales that are codes themselves to bfloat16."""
        codes = self.parts.get("weight_packed") or self.parts["weight"]
        real = isinstance(self.scheme, Integer | Floating)
        dtype = self.parts["weight_scale"].dtype if real else "bfloat16"
        size = prod(shape) * DTYPE_BITS[dtype] // 8
        return TensorEntry(f"{self.name}.weight", dtype, shape, codes.file, (1 << 61) + codes.offset, size)

    def _unfit(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"The packed layer '{self.name}' {what}",
            where=self.parts["weight_scale"].file,
            remedy="Its config.json and its tensors do not belong together.",
        )


def _unsigned(codes: Tensor, bits: int) -> Tensor:
    """Signed int8 codes as uint8 from 0."""
    return (codes.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8)
