"""Layers as bitsandbytes stores them: 4-bit codes of a book (NF4, FP4) with their state, and rows of int8.

Source: bitsandbytes-foundation/bitsandbytes, bitsandbytes/functional.py (`QuantState`), nn/modules.py (`Int8Params`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod

from benchvise.core.checkpoint.encodings.float_codes import BookCodes
from benchvise.core.checkpoint.encodings.integer_codes import RowCodes
from benchvise.core.checkpoint.read import read_rows, rows
from benchvise.core.checkpoint.records import COMPRESSIBLE_DTYPES, TensorEntry

BOOK_STATES = (".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4")
"""How the names of the states of 4-bit layers end."""

_LARGEST_CODE = 127.0
_MAX_STATE_BYTES = 1 << 16


def book_layer(name: str, entries: Mapping[str, TensorEntry]) -> tuple[str, tuple[int, ...], BookCodes] | None:
    """Dtype, shape and encoding of a 4-bit layer; None where its tensors do not fit its state.

    Raises ValueError, KeyError or TypeError for a state that is not one, CheckpointError when it cannot be read.
    """
    state_entry = next(entries[name + end] for end in BOOK_STATES if name + end in entries)
    book = state_entry.name.rpartition("__")[2]
    if state_entry.nbytes > _MAX_STATE_BYTES:
        return None
    state = json.loads(read_rows(state_entry, 0, rows(state_entry)).tobytes())
    shape, dtype = tuple(int(size) for size in state["shape"]), str(state["dtype"])
    block = int(state["blocksize"])
    codes, scales, levels = (entries[f"{name}.weight{end}"] for end in ("", ".absmax", ".quant_map"))
    nested = entries.get(f"{name}.weight.nested_absmax")
    nested_levels = entries.get(f"{name}.weight.nested_quant_map")
    count = prod(shape)
    blocks = -(-count // block) if block > 0 else -1
    fits = (
        codes.dtype == "uint8" and codes.elements == -(-count // 2) and scales.elements == blocks
        and levels.elements == 16 and dtype in COMPRESSIBLE_DTYPES and count > 0 and min(shape) > 0
        and (nested is None) == (nested_levels is None) and (nested is not None or scales.dtype == "float32")
    )  # fmt: skip
    nested_block = int(state.get("nested_blocksize") or 1)
    if nested is not None and nested_levels is not None:
        fits = fits and scales.dtype == "uint8" and nested_levels.elements == 256
        fits = fits and nested_block > 0 and nested.elements == -(-blocks // nested_block)
    if not fits:
        return None
    shift = float(state.get("nested_offset") or 0.0)
    encoding = BookCodes(
        book, shape[-1], block, codes, scales, levels, state_entry, nested_levels, nested, nested_block, shift
    )
    return dtype, shape, encoding


def scaled_rows(name: str, entries: Mapping[str, TensorEntry]) -> RowCodes | None:
    """The encoding of an int8 layer [outputs, inputs], whose scales are the largest magnitudes of the rows."""
    codes, scales = entries[f"{name}.weight"], entries[f"{name}.SCB"]
    if codes.dtype != "int8" or len(codes.shape) != 2 or scales.elements != codes.shape[0]:
        return None
    return RowCodes("bitsandbytes int8", codes.shape[1], 8, codes, scales, divisor=_LARGEST_CODE)
