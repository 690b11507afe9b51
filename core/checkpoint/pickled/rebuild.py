"""What the functions that torch and numpy name in their pickles would have made, as records.

Source: torch/_utils.py; numpy/_core/multiarray.py and numeric.py.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import TypeGuard

from benchvise.core.checkpoint.pickled.stand_ins import (
    ArrayRef,
    DtypeRef,
    Global,
    Inert,
    Span,
    StorageRef,
    TensorRef,
    Text,
)
from benchvise.core.checkpoint.records import DTYPE_BITS

STORAGE_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip

SPECIAL_TENSORS = ("_rebuild_sparse", "_rebuild_qtensor", "_rebuild_nested", "_rebuild_meta", "_rebuild_wrapper")
"""How the names of functions begin that make tensors which are no dense ones."""


def storage_dtype(kind: object) -> str | None:
    """The dtype of a storage class of torch, None for anything else."""
    if isinstance(kind, Global) and kind.module in ("torch", "torch.storage", "torch.cuda"):
        return STORAGE_DTYPES.get(kind.name)
    return None


def call(function: object, arguments: tuple[object, ...]) -> object:
    """What stands for the result of a call; an Inert for every function that is not known here.

    Raises UnpicklingError for arguments that torch or numpy never writes.
    """
    if not isinstance(function, Global):
        return Inert(Global("", "object"), arguments)
    if function.module == "torch._utils" and function.name.startswith(SPECIAL_TENSORS):
        return Inert(function)
    known = _KNOWN.get(function)
    return Inert(function, arguments) if known is None else known(*arguments)


def is_known(name: Global) -> bool:
    """Whether a global is one that plain tensors, arrays and containers are made of."""
    return name in _KNOWN or storage_dtype(name) is not None or _torch_dtype(name) is not None or name in _HARMLESS


def build(target: object, state: object) -> object:
    """What `target` becomes when `state` is put into it."""
    if isinstance(target, Inert):
        target.state = state if target.state is None else (target.state, state)
    elif isinstance(target, ArrayRef):
        return _array_state(target, state)
    elif isinstance(target, DtypeRef) and isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
        target.order = state[1]
    return target


def _torch_dtype(name: object) -> str | None:
    if isinstance(name, Global) and name.module == "torch" and name.name in DTYPE_BITS:
        return name.name
    return None


def _tensor(*arguments: object) -> object:
    match arguments:
        case (StorageRef() as storage, int(offset), tuple(shape), tuple(strides), *rest):
            if len(rest) > 2 and rest[2]:
                raise pickle.UnpicklingError("a conjugated or negated view of a tensor")
            return TensorRef(storage, offset, shape, strides, storage.dtype)
        case (Inert() as storage, *_):
            return Inert(storage.origin)
    raise pickle.UnpicklingError("unusual arguments of a tensor")


def _tensor_v3(*arguments: object) -> object:
    match arguments:
        case (StorageRef() as storage, int(offset), tuple(shape), tuple(strides), _, _, dtype, *_):
            found = _torch_dtype(dtype)
            if found is None:
                raise pickle.UnpicklingError("a tensor without a dtype")
            return TensorRef(storage, offset, shape, strides, found)
    raise pickle.UnpicklingError("unusual arguments of a tensor")


def _instance(*arguments: object) -> object:
    """An object as protocols 0 and 1 write it: `copyreg._reconstructor(class, base, state)`."""
    return Inert(arguments[0] if arguments and isinstance(arguments[0], Global) else Global("", "object"))


def _first(*arguments: object) -> object:
    return arguments[0] if arguments else None


def _typed(*arguments: object) -> object:
    match arguments:
        case (Global() as rebuild, _, tuple(inner), *_):
            return call(rebuild, inner)
    raise pickle.UnpicklingError("unusual arguments of a tensor's subclass")


def _nothing(*_: object) -> object:
    return None


def _dictionary(*arguments: object) -> object:
    match arguments:
        case (dict(pairs), *_):
            return dict(pairs)
        case ([*pairs], *_):
            return dict(pair for pair in pairs if _is_pair(pair))
    return {}


def _is_pair(value: object) -> TypeGuard[tuple[object, object]]:
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str | int)


def _default_dictionary(*_: object) -> object:
    return {}


def _list(*arguments: object) -> object:
    return list(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else []


def _tuple(*arguments: object) -> object:
    return tuple(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else ()


def _encoded(*arguments: object) -> object:
    """Bytes as protocol 2 writes them: text whose characters are the bytes."""
    match arguments:
        case (Span() as span, "latin1" | "latin-1"):
            return span._replace(text=True)
        case (Text() as text, "latin1" | "latin-1"):
            return text.span._replace(text=True)
    return None


def _dtype(*arguments: object) -> object:
    return DtypeRef(arguments[0]) if arguments and isinstance(arguments[0], str) else DtypeRef("")


def _array(*_: object) -> object:
    return ArrayRef()


def _array_from_buffer(*arguments: object) -> object:
    match arguments:
        case (Span() as span, DtypeRef() as dtype, tuple(shape), str(order), *_):
            return ArrayRef(shape, dtype, order == "F", span)
    return Inert(Global("numpy", "frombuffer"), arguments)


def _array_state(array: ArrayRef, state: object) -> object:
    match state:
        case (int(), tuple(shape), DtypeRef() as dtype, bool(fortran), Span() as span):
            return _filled(array, shape, dtype, fortran, span)
        case (int(), tuple(shape), DtypeRef() as dtype, bool(fortran), _):
            return _filled(array, shape, dtype, fortran, None)
    return array


def _filled(array: ArrayRef, shape: tuple[object, ...], dtype: DtypeRef, fortran: bool, span: Span | None) -> ArrayRef:
    array.shape, array.dtype, array.fortran, array.span = shape, dtype, fortran, span
    return array


_Function = Callable[..., object]


def _known() -> Mapping[Global, _Function]:
    functions: dict[str, _Function] = {
        "collections.OrderedDict": _dictionary, "builtins.dict": _dictionary, "__builtin__.dict": _dictionary,
        "collections.Counter": _dictionary, "collections.defaultdict": _default_dictionary,
        "builtins.list": _list, "__builtin__.list": _list, "builtins.tuple": _tuple, "__builtin__.tuple": _tuple,
        "torch.Size": _tuple, "builtins.set": _list, "__builtin__.set": _list, "builtins.frozenset": _list,
        "__builtin__.frozenset": _list, "_codecs.encode": _encoded,
        "copyreg._reconstructor": _instance, "copy_reg._reconstructor": _instance,
        "torch.jit._pickle.build_intlist": _list, "torch.jit._pickle.build_doublelist": _list,
        "torch.jit._pickle.build_boollist": _list, "torch.jit._pickle.build_tensorlist": _list,
        "torch.jit._pickle.restore_type_tag": _first,
        "torch.device": _nothing, "torch.serialization._get_layout": _nothing,
        "torch._utils._rebuild_tensor": _tensor, "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _tensor_v3, "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first, "torch._tensor._rebuild_from_type_v2": _typed,
        "torch._utils._rebuild_device_tensor_from_numpy": _first,
        "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
        "torch._utils._rebuild_xla_tensor": _first,
        "numpy.dtype": _dtype,
    }  # fmt: skip
    for module in ("numpy.core", "numpy._core"):
        functions[f"{module}.multiarray._reconstruct"] = _array
        functions[f"{module}.multiarray.scalar"] = _nothing
        functions[f"{module}.numeric._frombuffer"] = _array_from_buffer
    return {Global(*path.rsplit(".", 1)): function for path, function in functions.items()}


_KNOWN = _known()
_HARMLESS = frozenset({
    Global("numpy", "ndarray"), Global("torch", "Tensor"), Global("torch.nn.parameter", "Parameter"),
    Global("torch._utils", "_rebuild"),
})  # fmt: skip
