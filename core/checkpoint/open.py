"""A path becomes a checkpoint: headers are read, data is not."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchvise.core.checkpoint.companions import find_companions, quantization_of, read_config
from benchvise.core.checkpoint.encodings.quantised import dense_entries
from benchvise.core.checkpoint.folder import INDEX_SUFFIXES, WeightFiles, find_weights, one_of_shards
from benchvise.core.checkpoint.formats.registry import read_file
from benchvise.core.checkpoint.header import Header
from benchvise.core.checkpoint.layers import layers_of
from benchvise.core.checkpoint.records import Checkpoint, TensorEntry
from benchvise.core.checkpoint.shard_index import check_shards
from benchvise.core.checkpoint.training_state import split_training_state
from benchvise.core.errors import CheckpointError

_UNORDERED = ("safetensors", "gguf", "npz", "hdf5", "keras", "msgpack")
"""Kinds of files in which the order of the tensors means nothing."""


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Opens a folder or a file by its headers alone.

    A folder is one as Hugging Face lays it out: `model.safetensors` or `pytorch_model.bin`, the same in shards with an
    index, or other files of weights; or the folder of a model in the download cache. What a file is, its content says;
    a `config.json` beside it is used. No code stored in a file is ever run. Harmless oddities are told in
    `Checkpoint.warnings`.

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
    headers = {name: read_file(folder / name) for name in weights.names}
    for header in headers.values():
        warnings += header.warnings
        config = config or header.config
    warnings += check_shards(headers, weights.weight_map, folder)
    kind = next(iter(headers.values())).kind
    entries, left_out = _weights_of(headers, warnings)
    quantization = quantization_of(config, folder)
    entries, unfit = dense_entries(entries, quantization, config)
    warnings += unfit
    if not entries:
        warnings.append("There is no tensor in this checkpoint.")
    return Checkpoint(
        path=str(folder if place.name.endswith(tuple(INDEX_SUFFIXES.values())) else place),
        format=f"{kind} (sharded)" if weights.sharded else kind,
        layers=layers_of(entries, config, by_name=kind in _UNORDERED),
        config=config,
        quantization=quantization,
        companions=find_companions(folder) if config or place.is_dir() else (),
        warnings=tuple(warnings),
        left_out=left_out,
    )


def _weights_of(headers: dict[str, Header], warnings: list[str]) -> tuple[list[TensorEntry], tuple[str, ...]]:
    """The tensors that are weights, and the names of all that is not."""
    entries = [entry for header in headers.values() for entry in header.entries]
    left_out = [name for header in headers.values() for name in header.left_out]
    kept, rest = split_training_state({entry.name: entry.shape for entry in entries})
    if rest:
        warnings.append(f"The tensors of {', '.join(rest)} belong to the training; they are left out.")
        weights = set(kept)
        entries = [entry for entry in entries if entry.name in weights]
    return entries, (*left_out, *rest)


def _weights_at(place: Path) -> WeightFiles:
    """The weight files meant by a path: a folder, an index in it, or one file."""
    try:
        if place.is_dir():
            return find_weights(place)
        there, file = place.exists(), place.is_file()
        link = place.is_symlink()
    except OSError as error:
        raise CheckpointError(f"The path cannot be read: {error.strerror}", where=str(place)) from error
    if not file:
        lost = "This link leads nowhere, or to itself" if link else "There is no such file or folder"
        what = "This is no regular file" if there else lost
        raise CheckpointError(what, where=str(place), remedy="Check the path.")
    if place.name.endswith(tuple(INDEX_SUFFIXES.values())):
        return find_weights(place.parent)
    alone = one_of_shards(place.name)
    warning = ("This file is one of several shards; open their folder to see the whole checkpoint.",) if alone else ()
    return WeightFiles(place.parent, (place.name,), warnings=warning)
