"""What is known of a checkpoint from its headers alone. Plain records: no torch, no data."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Literal, Protocol

from benchvise.core.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DTYPE_BITS: dict[str, int] = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "float8_e8m0fnu": 8,
    "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8, "float4_e2m1fn_x2": 8,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "bool": 8,
    "complex64": 64, "complex128": 128,
}  # fmt: skip
"""Bits per element by dtype, spelled as torch does. `float4_e2m1fn_x2` holds two values in one 8-bit element."""

COMPRESSIBLE_DTYPES = frozenset({"float64", "float32", "float16", "bfloat16"})
"""The dtypes whose values schemes can represent in fewer bits."""

Kind = Literal["linear", "embedding", "conv", "norm", "bias", "tensor"]

ROUTED_EXPERT = "mlp.expert."
"""How the roles of an expert's tensors begin; models compute those of a block in one piece."""


class Encoding(Protocol):
    """How the values of a tensor follow from stored bytes that are not simply its values one after another."""

    @property
    def scheme(self) -> str:
        """The scheme that the tensor is compressed with, as in "q4_1"; "" where no value was changed."""

    @property
    def width(self) -> int:
        """Values in one line; the tensor in row-major order consists of whole lines."""

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        """The stored tensors that the values follow from; () where they are no tensors of the file."""

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Lines `first` to `last`, `[last - first, width]`, in the numpy dtype that holds `entry.dtype`."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies: `nbytes` bytes at `offset` of `file`, row-major unless `strides` (in elements) differ.

    cut: what surgery makes the tensor by, as a hex digest; it lies in no file then, and only `Weights` give its values.
    encoding: how its values follow from those bytes; None when they are the values. `dtype` and `shape` are those of
    the values, `nbytes` counts what is stored, scales included.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    offset: int
    nbytes: int
    strides: tuple[int, ...] | None = None
    cut: str = ""
    encoding: Encoding | None = None

    @property
    def elements(self) -> int:
        """Number of values; 1 for a scalar."""
        return prod(self.shape)

    @property
    def scheme(self) -> str:
        """The scheme that the tensor is stored compressed with, "" when it is not."""
        return self.encoding.scheme if self.encoding is not None else ""

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for each value, scales included."""
        return 8 * self.nbytes / self.elements if self.elements else 0.0


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor that a file is to hold; dtype spelled as torch does."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True, slots=True)
class Layer:
    """The unit a person compresses or looks at: one tensor with its place in the network.

    name:  the module's path for a `.weight` ("model.layers.0.mlp.up_proj"), the tensor's own name otherwise.
    role:  "attention.q", "mlp.down", "lm_head", "embedding", "norm", "bias", "conv", "linear", "other", …
    depth: index of the block it belongs to, or None outside the blocks.
    transposed: the weight is stored [in, out] (GPT-2's Conv1D).
    tied:  names of layers that share this tensor without storing it.
    """

    name: str
    tensor: TensorEntry
    role: str
    kind: Kind
    depth: int | None
    transposed: bool = False
    tied: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def dtype(self) -> str:
        return self.tensor.dtype

    @property
    def nbytes(self) -> int:
        return self.tensor.nbytes

    @property
    def dense_nbytes(self) -> int:
        """Bytes of the values; `nbytes` counts what is stored, which is less for a tensor that is stored compressed."""
        return self.parameters * DTYPE_BITS[self.dtype] // 8 if self.tensor.encoding is not None else self.nbytes

    @property
    def parameters(self) -> int:
        return self.tensor.elements

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """The weight as a matrix [outputs, inputs]: kernels of convolutions flattened, transposed weights turned."""
        if self.transposed and len(self.shape) == 2:
            return self.shape[1], self.shape[0]
        if self.kind == "conv":
            return self.shape[0], prod(self.shape[1:])
        return (prod(self.shape[:-1]), self.shape[-1]) if self.shape else (1, 1)

    @property
    def routed_expert(self) -> bool:
        """Whether it belongs to one of the experts that a router chooses from."""
        return self.role.startswith(ROUTED_EXPERT)

    @property
    def compressible(self) -> bool:
        """A floating-point weight of at least two dimensions and at least one value."""
        return self.dtype in COMPRESSIBLE_DTYPES and len(self.shape) >= 2 and self.parameters > 0


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint opened read-only, headers first.

    path:   what the person opened: a folder or a file, absolute.
    format: "safetensors", "safetensors (sharded)", "torch", "torch (sharded)", "gguf", …
    config: parsed `config.json`, or {} when there is none.
    quantization: the config's `quantization_config` when the checkpoint is already quantised, else None. Layers that
    decode themselves say so in their `scheme`.
    companions: tokenizer, config and licence files to carry along on export, absolute paths.
    left_out: what is in the files and is no weight: optimizers, schedules, counters, …
    """

    path: str
    format: str
    layers: tuple[Layer, ...]
    config: dict[str, object] = field(default_factory=dict)
    quantization: dict[str, object] | None = None
    companions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What the file or the files are, without regard to their number: "safetensors", "torch", "gguf", …"""
        return self.format.removesuffix(" (sharded)")

    @property
    def schemes(self) -> dict[str, int]:
        """The schemes that layers are stored compressed with, and how many layers each."""
        return dict(Counter(layer.tensor.scheme for layer in self.layers if layer.tensor.scheme))

    @property
    def undecoded(self) -> bool:
        """Whether it says that it is quantised, and no layer of it is known to be: codes would be taken for weights."""
        return self.quantization is not None and not self.schemes

    @property
    def architecture(self) -> str:
        """The `transformers` class named in the config, else its model type, or "" when there is neither."""
        names = self.config.get("architectures")
        if isinstance(names, list) and names:
            return str(names[0])
        model_type = self.config.get("model_type")
        return model_type if isinstance(model_type, str) else ""

    @property
    def tensors(self) -> int:
        return len(self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def layer(self, name: str) -> Layer:
        """The layer of that name or with that tensor name. Raises CheckpointError with the nearest names."""
        for layer in self.layers:
            if name in (layer.name, layer.tensor.name):
                return layer
        near = difflib.get_close_matches(name, [layer.name for layer in self.layers], n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else "`benchvise inspect` lists the layers."
        raise CheckpointError(f"There is no layer '{name}'", where=self.path, remedy=hint)
