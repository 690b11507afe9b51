"""One layer as the compressed-tensors formats store it, seen as its scheme stores it.

Source: vllm-project/compressed-tensors, compressors/pack_quantized, naive_quantized, mxfp4, mxfp8 and nvfp4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Generic, TypeVar

from torch import Tensor

from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.activations import INPUT_SCALE, Activations
from benchvise.core.methods.scheme import Scheme

PARTS = (
    "weight", "weight_packed", "weight_scale", "weight_global_scale", "weight_zero_point", "weight_shape", INPUT_SCALE,
)  # fmt: skip
"""What comes after the layer's name."""

S = TypeVar("S", bound=Scheme)


@dataclass(frozen=True)
class PackedLayer(ABC, Generic[S]):
    """The tensors of one module by what comes after its name, and what its config makes of them."""

    kind: ClassVar[type[Scheme]]
    """The scheme whose layers the class reads."""

    name: str
    parts: Mapping[str, TensorEntry]
    scheme: S
    activations: Activations | None

    def checked_entry(self) -> TensorEntry:
        """The dense tensor that the layer stands for. It lies beyond the end of its file, so that nobody reads codes.

        Raises CheckpointError where tensors do not fit the config.
        """
        shape = self.shape()
        if min(shape) < 1:
            raise self.unfit(f"says that its shape is {list(shape)}")
        for part, expected in self.expected(shape).items():
            found = (self.parts[part].dtype, self.parts[part].shape) if part in self.parts else None
            if found != expected:
                said = f"holds {part} {found[0]} {list(found[1])}" if found else f"has no {part}"
                raise self.unfit(f"{said}, but {self.scheme.tag} of {list(shape)} is {expected[0]} {list(expected[1])}")
        self.check_scales(shape)
        if self.activations is not None and self.activations.mode == "static":
            scale = self.parts.get(INPUT_SCALE)
            if scale is None or scale.elements != 1:
                raise self.unfit("has no single fixed scale for its inputs")
        return self._dense(shape)

    @abstractmethod
    def rows(self, start: int, stop: int) -> dict[str, Tensor]:
        """Rows of the codes as the scheme stores them, in its dtypes."""

    @abstractmethod
    def tail(self) -> dict[str, Tensor]:
        """Scales and zero points by name, in the dtypes and shapes [*stored.shape] of the scheme's `storage`."""

    @abstractmethod
    def expected(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Dtype and shape of what holds codes, by part, for a weight [rows, columns]."""

    @abstractmethod
    def check_scales(self, shape: tuple[int, int]) -> None:
        """Raises CheckpointError when scales and zero points do not fit a weight [rows, columns]."""

    def packed_shape(self, rows: int, columns: int) -> tuple[int, int]:
        """The weight's shape where codes of the shape [rows, columns] are packed: two a byte."""
        return rows, 2 * columns

    @property
    def dense_dtype(self) -> str:
        """What loaders decode to: the dtype of real scales, bfloat16 where scales are codes themselves."""
        return "bfloat16"

    def input_scale(self) -> Tensor | None:
        """The fixed scale of the layer's inputs, float32 [1]."""
        if self.activations is None or self.activations.mode == "dynamic":
            return None
        return load_tensor(self.parts[INPUT_SCALE]).float().reshape(1)

    def shape(self) -> tuple[int, int]:
        """[rows, columns] of the weight. Raises CheckpointError when no codes say it."""
        codes = self.parts.get("weight_packed") or self.parts.get("weight")
        if codes is None or len(codes.shape) != 2:
            raise self.unfit("has scales but no codes")
        rows, columns = codes.shape
        return self.packed_shape(rows, columns) if "weight_packed" in self.parts else (rows, columns)

    def check_scale_count(self, scales: tuple[int, ...], *, divides: bool = True) -> None:
        """Raises CheckpointError unless groups divide the rows and there are as many scales as `scales` says."""
        scale = self.parts["weight_scale"]
        if not divides or scale.elements != prod(scales):
            raise self.unfit(f"has scales {list(scale.shape)}, which do not fit {self.scheme.tag}")

    def unfit(self, what: str) -> CheckpointError:
        """The error that says what of the layer does not fit its config."""
        return CheckpointError(
            f"The packed layer '{self.name}' {what}",
            where=self.parts["weight_scale"].file,
            remedy="Its config.json and its tensors do not belong together.",
        )

    def _dense(self, shape: tuple[int, int]) -> TensorEntry:
        codes = self.parts.get("weight_packed") or self.parts["weight"]
        dtype = self.dense_dtype
        size = prod(shape) * DTYPE_BITS[dtype] // 8
        return TensorEntry(f"{self.name}.weight", dtype, shape, codes.file, (1 << 61) + codes.offset, size)
