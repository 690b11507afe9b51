"""Tensors that belong together in a quantised checkpoint, found by names and shapes, seen as the dense weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod

from benchvise.core.checkpoint.encodings.bitsandbytes import BOOK_STATES, book_layer, scaled_rows
from benchvise.core.checkpoint.encodings.float_codes import Float4Blocks, ScaledFloats
from benchvise.core.checkpoint.encodings.integer_codes import RowCodes, TransposedCodes
from benchvise.core.checkpoint.encodings.stored_codes import WORD
from benchvise.core.checkpoint.header import listed
from benchvise.core.checkpoint.read import read_rows
from benchvise.core.checkpoint.records import COMPRESSIBLE_DTYPES, Encoding, TensorEntry
from benchvise.core.errors import CheckpointError

_Tensors = Mapping[str, TensorEntry]
_Said = Mapping[str, object]
_Entry = TensorEntry | None

_BLOCK = 128
_FIRST_VERSION = 1
_INPUT_PARTS = ("input_scale", "input_global_scale", "activation_scale", "input_zero_point")
"""What a layer stores of its inputs. It stays beside the weight, as a tensor of its own."""


def dense_entries(
    entries: Iterable[TensorEntry], quantization: _Said | None, config: _Said
) -> tuple[list[TensorEntry], list[str]]:
    """`entries` with every quantised layer as one tensor that decodes itself, and warnings for what does not fit.

    What is no part of a quantised layer, or does not fit, stays as it is stored.
    """
    by_name = {entry.name: entry for entry in entries}
    facts: dict[str, object] = {"dtype": _dtype(config), **(quantization or {})}
    unfit: list[str] = []
    for name, key in [(name, key) for key in _READERS for name in by_name if name.endswith(key)]:
        if name not in by_name:
            continue
        try:
            found = _READERS[key](name.removesuffix(key), by_name, facts)
        except KeyError:  # without its counterpart a name alone says nothing, unless the config does
            if quantization is None:
                continue
            found = None
        except (CheckpointError, ValueError, ArithmeticError, TypeError):
            found = None
        if found is None or found.encoding is None:
            unfit.append(name)
            continue
        for part in found.encoding.parts:
            by_name.pop(part.name, None)
        by_name[found.name] = found
    for name in [name for name in by_name if name.endswith(_WITHOUT_VALUES)]:
        if f"{name.rpartition('.')[0]}.weight" in by_name:
            del by_name[name]
    warning = f"The parts of {listed(unfit)} fit no quantised layer; they are shown as they are stored."
    return list(by_name.values()), [warning] if unfit else []


def stored_entries(entry: TensorEntry) -> tuple[TensorEntry, ...]:
    """The tensors as the file names them that `entry` follows from: itself, where it is stored as it is."""
    return (entry.encoding.parts if entry.encoding is not None else ()) or (entry,)


def _dtype(config: _Said) -> str:
    """The dtype that the network computes in, by its config: that of weights whose scales do not say it."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        for key in ("dtype", "torch_dtype"):
            found = str(part.get(key, "")).removeprefix("torch.")
            if found in COMPRESSIBLE_DTYPES:
                return found
    return "bfloat16"


def _weight(name: str, dtype: str, shape: tuple[int, ...], encoding: Encoding) -> _Entry:
    parts = encoding.parts
    nbytes = sum(part.nbytes for part in parts)
    return TensorEntry(name, dtype, shape, parts[0].file, parts[0].offset, nbytes, encoding=encoding)


def _transposed(name: str, entries: _Tensors, facts: _Said) -> _Entry:
    """GPTQ and AWQ, told apart by the side on which codes are packed."""
    codes, scales = entries[f"{name}.qweight"], entries[f"{name}.scales"]
    zeros, index = entries.get(f"{name}.qzeros"), entries.get(f"{name}.g_idx")
    groups, outputs = scales.shape
    columns_first = codes.shape[1] != outputs
    if columns_first:
        inputs, bits = codes.shape[0], codes.shape[1] * WORD // outputs
    else:
        stated = zeros.shape[1] * WORD // outputs if zeros is not None else facts.get("bits")
        bits = stated if isinstance(stated, int) else 4
        inputs = codes.shape[0] * WORD // bits
    less = 0 if columns_first or facts.get("checkpoint_format") == "gptq_v2" else _FIRST_VERSION
    if not _fits_transposed(bits, (inputs, outputs), groups, codes, zeros, index, columns_first=columns_first):
        return None
    method = "awq" if columns_first else "gptq"
    scheme = f"{method} int{bits} {_grouped(inputs, groups)}"
    encoding = TransposedCodes(scheme, inputs, bits, codes, scales, zeros, index, less, columns_first)
    return _weight(f"{name}.weight", scales.dtype, (outputs, inputs), encoding)


def _fits_transposed(
    bits: int,
    size: tuple[int, int],
    groups: int,
    codes: TensorEntry,
    zeros: _Entry,
    index: _Entry,
    *,
    columns_first: bool,
) -> bool:
    inputs, outputs = size
    along, across = (inputs, outputs * bits / WORD) if columns_first else (inputs * bits / WORD, outputs)
    return (
        bits in (2, 3, 4, 8) and groups >= 1 and min(size) >= 1 and (not columns_first or bits == 4)
        and codes.dtype == "int32" and codes.shape == (along, across)
        and (zeros is None or (zeros.dtype == "int32" and zeros.shape == (groups, outputs * bits / WORD)))
        and (index is None or index.shape == (inputs,))
    )  # fmt: skip


def _grouped(columns: int, groups: int) -> str:
    return "channel" if groups == 1 else f"g{-(-columns // groups)}"


def _packed(name: str, entries: _Tensors, facts: _Said) -> _Entry:
    """`weight_packed` of compressed-tensors: integers in words, or two E2M1 numbers a byte."""
    codes, scales = entries[f"{name}.weight_packed"], entries[f"{name}.weight_scale"]
    if codes.dtype == "uint8":
        return _packed_float4(name, codes, scales, entries.get(f"{name}.weight_global_scale"), str(facts["dtype"]))
    shape = entries[f"{name}.weight_shape"]
    outputs, inputs = (int(size) for size in read_rows(shape, 0, 2))
    fitting = [bits for bits in range(1, 9) if -(-inputs * bits // WORD) == codes.shape[1]]
    stated = [bits for bits in _stated_bits(facts) if bits in fitting]
    groups = scales.shape[1] if len(scales.shape) == 2 else 1
    zeros = entries.get(f"{name}.weight_zero_point")
    if codes.dtype != "int32" or codes.shape[0] != outputs or not fitting or min(outputs, inputs, groups) < 1:
        return None
    bits = (stated or fitting)[0]
    packed_zeros = (-(-scales.shape[0] * bits // WORD), groups)
    if zeros is not None and zeros.shape != (packed_zeros if zeros.dtype == "int32" else scales.shape):
        return None
    if scales.elements not in (1, outputs * groups):
        return None
    scheme = f"int{bits} {_grouped(inputs, groups)}{'' if zeros is None else ' asym'}"
    encoding = RowCodes(scheme, inputs, bits, codes, scales, zeros, shape, entries.get(f"{name}.weight_g_idx"))
    return _weight(f"{name}.weight", scales.dtype, (outputs, inputs), encoding)


def _stated_bits(facts: _Said) -> list[int]:
    groups = facts.get("config_groups")
    found = groups.values() if isinstance(groups, Mapping) else ()
    weights = [group.get("weights") for group in found if isinstance(group, Mapping)]
    return [int(each["num_bits"]) for each in weights if isinstance(each, Mapping) and "num_bits" in each]


def _packed_float4(name: str, codes: TensorEntry, scales: TensorEntry, divisor: _Entry, dtype: str) -> _Entry:
    rows, columns = codes.shape[0], codes.shape[1] * 2
    block = columns // max(1, scales.shape[1])
    if scales.shape != (rows, columns // max(1, block)) or block not in (16, 32):
        return None
    scheme = "mxfp4" if divisor is None else "nvfp4"
    encoding = Float4Blocks(scheme, columns, codes, scales, block, columns, divisor)
    return _weight(f"{name}.weight", dtype, (rows, columns), encoding)


def _scaled(name: str, entries: _Tensors, facts: _Said) -> _Entry:
    """`weight` and `weight_scale`: 8-bit integers or floats, with a scale a tensor, channel or block."""
    codes, scales = entries[f"{name}.weight"], entries[f"{name}.weight_scale"]
    if codes.dtype == "int8":
        zeros = entries.get(f"{name}.weight_zero_point")
        groups = scales.shape[1] if len(scales.shape) == 2 else 1
        if len(codes.shape) != 2 or scales.elements not in (1, codes.shape[0] * groups) or zeros is not None:
            fits = zeros is not None and zeros.dtype == "int8" and zeros.elements == scales.elements
            if not fits:
                return None
        scheme = f"int8 {'tensor' if scales.elements == 1 else _grouped(codes.shape[1], groups)}"
        encoding = RowCodes(scheme, codes.shape[1], 8, codes, scales, zeros)
        return _weight(f"{name}.weight", scales.dtype, codes.shape, encoding)
    return _scaled_floats(f"{name}.weight", codes, scales, facts, scales.dtype)


def _inverse(name: str, entries: _Tensors, facts: _Said) -> _Entry:
    """DeepSeek's FP8: the scale that codes are to be multiplied by, for each block, in spite of its name."""
    return _scaled_floats(name, entries[name], entries[f"{name}_scale_inv"], facts, str(facts["dtype"]))


def _scaled_floats(name: str, codes: TensorEntry, scales: TensorEntry, facts: _Said, dtype: str) -> _Entry:
    if not codes.dtype.startswith("float8") or len(codes.shape) < 2:
        return None
    powers = scales.dtype in ("uint8", "float8_e8m0fnu")
    dtype = dtype if dtype in COMPRESSIBLE_DTYPES else str(facts["dtype"])
    block = _block_of(codes.shape, scales, facts.get("weight_block_size"), powers=powers)
    if block is None:
        return None
    named = "mxfp8" if powers and block == (1, 32) else f"fp8 {_block_text(block, codes.shape)}"
    return _weight(name, dtype, codes.shape, ScaledFloats(named, codes.shape[-1], codes, scales, block, powers))


def _block_of(shape: tuple[int, ...], scales: TensorEntry, stated: object, *, powers: bool) -> tuple[int, int] | None:
    """Rows and columns that share a scale, None where the number of scales fits none."""
    rows, columns = shape[-2:]
    matrices = prod(shape[:-2])
    wanted = scales.elements
    if wanted == matrices:
        return rows, columns
    if wanted == matrices * rows and not (powers and columns <= 32):
        return 1, columns
    sizes = [tuple(stated)] if isinstance(stated, (list, tuple)) and len(stated) == 2 else []
    grid = scales.shape[-2:]
    if len(grid) == 2 and min(grid) >= 1:
        sizes += [(_BLOCK, _BLOCK), (-(-rows // grid[0]), -(-columns // grid[1]))]
    for high, long in sizes:
        if min(high, long) >= 1 and (-(-rows // high), -(-columns // long)) == grid and wanted == matrices * prod(grid):
            return int(high), int(long)
    return None


def _block_text(block: tuple[int, int], shape: tuple[int, ...]) -> str:
    if block == shape[-2:]:
        return "tensor"
    return "channel" if block == (1, shape[-1]) else f"block {block[0]}×{block[1]}"


def _blocks(name: str, entries: _Tensors, facts: _Said) -> _Entry:
    """gpt-oss: `NAME_blocks` [experts, outputs, blocks, 16] and `NAME_scales` [experts, outputs, blocks].

    `transformers` computes with [experts, inputs, outputs].
    """
    codes, scales = entries[f"{name}_blocks"], entries[f"{name}_scales"]
    if codes.dtype != "uint8" or codes.shape[:-1] != scales.shape or codes.shape[-1] != 16 or len(scales.shape) < 2:
        return None
    *before, outputs, count = scales.shape
    inputs = count * 32
    turned = bool(before)
    shape = (*before, inputs, outputs) if turned else (outputs, inputs)
    width = inputs * outputs if turned else inputs
    encoding = Float4Blocks("mxfp4", width, codes, scales, 32, inputs, turned=turned)
    return _weight(name, str(facts["dtype"]), shape, encoding)


def _book(name: str, entries: _Tensors, facts: _Said) -> _Entry:  # noqa: ARG001 - its state says all
    found = book_layer(name, entries)
    return None if found is None else _weight(f"{name}.weight", *found)


def _rows(name: str, entries: _Tensors, facts: _Said) -> _Entry:
    encoding = scaled_rows(name, entries)
    codes = entries[f"{name}.weight"]
    return None if encoding is None else _weight(f"{name}.weight", str(facts["dtype"]), codes.shape, encoding)


_READERS: dict[str, Callable[[str, _Tensors, _Said], _Entry]] = {
    ".qweight": _transposed,
    ".weight_packed": _packed,
    **dict.fromkeys(BOOK_STATES, _book),
    ".SCB": _rows,
    ".weight_scale": _scaled,
    "_scale_inv": _inverse,
    "_blocks": _blocks,
}
"""By how the name of the tensor ends that shows such a layer."""

_WITHOUT_VALUES = (".weight_format",)
"""Notes of bitsandbytes beside its weights, which hold no values of the network."""
