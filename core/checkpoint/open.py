"""A path becomes a checkpoint: headers are read, data is not."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchvise.core.checkpoint.companions import find_companions, quantization_of, read_config
from benchvise.core.checkpoint.folder import (
    INDEX_SUFFIXES,
    TORCH_SUFFIXES,
    Format,
    WeightFiles,
    find_weights,
    one_of_shards,
)
from benchvise.core.checkpoint.header import Header
from benchvise.core.checkpoint.layers import layers_of
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.checkpoint.safetensors_header import MAX_HEADER_BYTES, read_header
from benchvise.core.checkpoint.shard_index import check_shards
from benchvise.core.checkpoint.torch_file import read_torch_header
from benchvise.core.errors import CheckpointError


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Opens a folder or a file by its headers alone.

    A folder is one as Hugging Face lays it out: `model.safetensors` or `pytorch_model.bin`, the same in shards with an
    index, or other safetensors files. A file is `.safetensors`, or a torch file of weights; a `config.json` beside it
    is used. No code stored in a file is ever run. Harmless oddities are told in `Checkpoint.warnings`.

    Raises CheckpointError with everything that is wrong with the first bad file.
    """
    place = Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 - pathlib's raises for unknown users
    with _collector_paused():
        return _open(place, _weights_at(place))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keeps the garbage collector from walking over hundreds of thousands of new records, none of which is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _open(place: Path, weights: WeightFiles) -> Checkpoint:
    folder = weights.folder
    config, warnings = read_config(folder), [*weights.warnings]
    headers: dict[str, Header] = {}
    for name in weights.names:
        file = folder / name
        headers[name] = read_header(file) if weights.format == "safetensors" else read_torch_header(file)
        warnings += headers[name].warnings
    warnings += check_shards(headers, weights.weight_map, folder)
    entries = [entry for header in headers.values() for entry in header.entries]
    if not entries:
        warnings.append("There is no tensor in this checkpoint.")
    return Checkpoint(
        path=str(folder if place.name.endswith(tuple(INDEX_SUFFIXES.values())) else place),
        format=f"{weights.format} (sharded)" if weights.sharded else weights.format,
        layers=layers_of(entries, config, by_name=weights.format == "safetensors"),
        config=config,
        quantization=quantization_of(config, folder),
        companions=find_companions(folder) if config or place.is_dir() else (),
        warnings=tuple(warnings),
    )


def _weights_at(place: Path) -> WeightFiles:
    """The weight files meant by a path: a folder, an index in it, or one file."""
    try:
        if place.is_dir():
            return find_weights(place)
        there, file = place.exists(), place.is_file()
    except OSError as error:
        raise CheckpointError(f"The path cannot be read: {error.strerror}", where=str(place)) from error
    if not file:
        what = "This is no regular file" if there else "There is no such file or folder"
        raise CheckpointError(what, where=str(place), remedy="Check the path.")
    if place.name.endswith(tuple(INDEX_SUFFIXES.values())):
        return find_weights(place.parent)
    alone = one_of_shards(place.name)
    warning = ("This file is one of several shards; open their folder to see the whole checkpoint.",) if alone else ()
    return WeightFiles(place.parent, _format_of(place), (place.name,), warnings=warning)


def _format_of(file: Path) -> Format:
    """What a file is: by its name, but safetensors under the name of a torch file is known by its first bytes."""
    if file.suffix == ".safetensors":
        return "safetensors"
    if file.suffix in TORCH_SUFFIXES:
        return "safetensors" if _starts_like_safetensors(file) else "torch"
    raise CheckpointError(
        f"'{file.suffix or file.name}' is not a kind of checkpoint that can be opened",
        where=str(file),
        remedy=f"Open a folder, or a file that ends in .safetensors, {', '.join(TORCH_SUFFIXES)}.",
    )


def _starts_like_safetensors(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(file)) from error
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MAX_HEADER_BYTES
