"""The description of tensors inside a torch file, read without torch and without running anything.

A pickle is a program: it may name any function and have it called. Here it can name nothing but what torch itself
writes for plain tensors, and what those names stand for are records that cannot be altered, not torch's functions. Any
other name ends the reading before it is looked up.

Source: https://docs.python.org/3/library/pickle.html, "Restricting Globals"; torch/_utils.py for the signatures.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from typing import IO, NamedTuple

from benchvise.core.checkpoint.records import DTYPE_BITS
from benchvise.core.errors import CheckpointError

_SAVE_AGAIN = "If you trust where it comes from, load it in Python and save its `state_dict()` as safetensors."

_STORAGE_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip


class StorageKind(NamedTuple):
    """Stands for a storage class of torch."""

    dtype: str


class DtypeName(NamedTuple):
    """Stands for a dtype of torch."""

    dtype: str


class StorageRef(NamedTuple):
    """A storage the file holds elsewhere: `elements` values of `dtype` under `key`; a view begins `start` values in."""

    key: str
    dtype: str
    elements: int
    start: int


class TensorRef(NamedTuple):
    """A tensor on a storage: `offset` and `strides` in elements of `dtype`. Nothing about it has been checked."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


class _Rebuild(NamedTuple):
    """Stands for one of torch's functions that put a tensor together; called, it describes the tensor."""

    function: str

    def __call__(self, *arguments: object) -> object:
        match (self.function, arguments):
            case ("tensor", [StorageRef() as storage, int(offset), tuple(shape), tuple(strides), *rest]):
                if len(rest) > 2 and rest[2]:
                    raise pickle.UnpicklingError("a conjugated or negated view of a tensor")
                return TensorRef(storage, offset, shape, strides, storage.dtype)
            case ("tensor_v3", [StorageRef() as storage, int(offset), tuple(shape), tuple(strides), _, _, dtype, *_]):
                if not isinstance(dtype, DtypeName):
                    raise pickle.UnpicklingError("a tensor without a dtype")
                return TensorRef(storage, offset, shape, strides, dtype.dtype)
            case ("parameter", [TensorRef() as tensor, *_]):
                return tensor
            case ("typed", [_Rebuild() as rebuild, _, tuple(inner), *_]):
                return rebuild(*inner)
            case ("nothing", _):
                return None
        raise pickle.UnpicklingError(f"unusual arguments of {self.function}")


_GLOBALS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): tuple,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "device"): _Rebuild("nothing"),
    ("torch", "Tensor"): _Rebuild("nothing"),
    ("torch.nn.parameter", "Parameter"): _Rebuild("nothing"),
    ("torch._utils", "_rebuild_tensor"): _Rebuild("tensor"),
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild("tensor"),
    ("torch._utils", "_rebuild_tensor_v3"): _Rebuild("tensor_v3"),
    ("torch._utils", "_rebuild_parameter"): _Rebuild("parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"): _Rebuild("parameter"),
    ("torch._tensor", "_rebuild_from_type_v2"): _Rebuild("typed"),
}
_GLOBALS.update({("torch", dtype): DtypeName(dtype) for dtype in DTYPE_BITS})
for _module in ("torch", "torch.storage", "torch.cuda"):
    _GLOBALS.update({(_module, name): StorageKind(dtype) for name, dtype in _STORAGE_DTYPES.items()})

_OTHER_TENSORS = ("_rebuild_sparse", "_rebuild_qtensor", "_rebuild_nested", "_rebuild_meta", "_rebuild_wrapper")
_PICKLE_FAULTS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, AttributeError, KeyError, OverflowError,
    MemoryError, RecursionError, AssertionError, struct.error,
)  # fmt: skip


class TensorUnpickler(pickle._Unpickler):
    """Reads one pickle of a torch file; tensors come out as TensorRef. Afterwards `storages` has every StorageRef.

    This is the standard library's unpickler in Python: the one in C fills an array up to whatever number a value is
    remembered under, which lets a file of 10 bytes, or one flipped bit, claim 64 GB.
    """

    def __init__(self, file: IO[bytes], where: str) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.where = where
        self.storages: dict[str, StorageRef] = {}

    def read(self) -> object:
        """The object pickled at the file's position. Raises CheckpointError for damage and for forbidden names."""
        try:
            return self.load()
        except _PICKLE_FAULTS as error:
            raise CheckpointError(
                f"The description of the tensors cannot be understood: {error}",
                where=self.where,
                remedy="It is no torch file, or it is damaged; download or save it again.",
            ) from error

    def find_class(self, module: str, name: str) -> object:
        """The record that stands for a global. Raises CheckpointError for every name that is not plainly harmless."""
        known = _GLOBALS.get((module, name))
        if known is not None:
            return known
        if module == "torch._utils" and name.startswith(_OTHER_TENSORS):
            raise CheckpointError(
                f"The file holds a sparse, quantised or otherwise special tensor ({name})",
                where=self.where,
                remedy="Load it in Python, turn it into a dense tensor, and save it again.",
            )
        raise CheckpointError(
            f"This file wants to run code: {module}.{name}; it was not opened", where=self.where, remedy=_SAVE_AGAIN
        )

    def persistent_load(self, pid: object) -> StorageRef:
        """The storage of that persistent id: ('storage', kind, key, location, elements[, view])."""
        match pid:
            case ("storage", StorageKind(dtype), str(key), _, int(elements)) if elements >= 0:
                start = 0
            case ("storage", StorageKind(dtype), str(key), _, int(elements), None) if elements >= 0:
                start = 0
            case ("storage", StorageKind(dtype), str(key), _, int(elements), (_, int(start), int(_))) if start >= 0:
                pass
            case _:
                raise pickle.UnpicklingError("a persistent id that is not a storage")
        whole = self.storages.setdefault(key, StorageRef(key, dtype, elements, 0))
        if whole.dtype != dtype:
            raise pickle.UnpicklingError(f"storage {key} has two dtypes, {whole.dtype} and {dtype}")
        return StorageRef(key, dtype, elements, start)
