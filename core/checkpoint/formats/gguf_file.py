"""The tensors of a GGUF file, by the names that `transformers` gives them where the architecture is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchvise.core.checkpoint.encodings.gguf_blocks import GgufBlocks
from benchvise.core.checkpoint.encodings.gguf_types import TYPES
from benchvise.core.checkpoint.formats.gguf_metadata import ListedTensor, Listing, read_listing
from benchvise.core.checkpoint.formats.gguf_names import NOT_WEIGHTS, Family, config_of, family_of, names_of
from benchvise.core.checkpoint.header import Header
from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError

_MAX_EXPERTS = 4096


def read_gguf_header(path: Path) -> Header:
    """Reads the header of the GGUF file at `path`, no data. Raises CheckpointError when it is damaged."""
    try:
        with path.open("rb") as file:
            listing = read_listing(file, path.stat().st_size, str(path))
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    counts = Counter(tensor.name for tensor in listing.tensors)
    twice = [(name[:80], times) for name, times in counts.items() if times > 1]
    repeated = [f"The name '{name}' stands {times} times in the file" for name, times in twice]
    if repeated:
        raise checkpoint_error(repeated, where=str(path), remedy="The file is damaged; download it again.")
    family = family_of(listing)
    tables = tuple(tensor.name for tensor in listing.tensors if NOT_WEIGHTS.search(tensor.name))
    weights = [tensor for tensor in listing.tensors if tensor.name not in tables]
    entries = [entry for tensor in weights for entry in _entries(tensor, family, listing, str(path))]
    warnings = []
    if family is None:
        name = listing.text("general.architecture")[:80] or "none"
        warnings.append(f"The architecture '{name}' is not one whose names and config are known; names are the file's.")
    if any("rope_freqs" in name for name in tables):
        warnings.append("The file scales rotary frequencies by a table, which its config cannot say; it is left out.")
    config = config_of(listing, family) if family is not None else {}
    return Header(tuple(entries), tuple(warnings), kind="gguf", left_out=tables, config=config)


def _entries(tensor: ListedTensor, family: Family | None, listing: Listing, file: str) -> Iterator[TensorEntry]:
    found = TYPES[tensor.kind]
    head, shift = _changes(tensor, family, listing)
    single = not tensor.shape or (head and len(tensor.shape) == 1)
    width = 1 if single else tensor.shape[-1]
    encoding = None if found.dtype and not head and not shift else GgufBlocks(tensor.kind, width, head, shift)
    whole = TensorEntry(
        tensor.name, found.dtype or "float32", tensor.shape, file, tensor.offset, tensor.nbytes, encoding=encoding
    )
    if family is None:
        yield whole
        return
    experts = tensor.shape[0] if len(tensor.shape) == 3 and 0 < tensor.shape[0] <= _MAX_EXPERTS else 1
    names = names_of(tensor.name, family, experts)
    if len(names) == 1:
        yield replace(whole, name=names[0])
        return
    size = tensor.nbytes // len(names)
    for index, name in enumerate(names):
        yield replace(whole, name=name, shape=tensor.shape[1:], offset=tensor.offset + index * size, nbytes=size)


def _changes(tensor: ListedTensor, family: Family | None, listing: Listing) -> tuple[int, float]:
    """Rows of a head whose pairs were reordered, and what has to be added to undo what the converter added."""
    if family is None:
        return 0, 0.0
    prefix = listing.text("general.architecture")
    if family.norm and tensor.name.endswith("norm.weight") and TYPES[tensor.kind].dtype == "float32":
        return 0, -family.norm
    key = {".attn_q.": "head_count", ".attn_k.": "head_count_kv"}.get(tensor.name[tensor.name.find(".attn_") :][:8], "")
    heads = listing.integer(f"{prefix}.attention.{key}") or listing.integer(f"{prefix}.attention.head_count")
    if not family.pairs or not key or not heads or not tensor.shape or heads < 0:
        return 0, 0.0
    rows = tensor.shape[0]
    return (rows // heads, 0.0) if rows % (2 * heads) == 0 else (0, 0.0)
