"""Which files of a folder hold the weights, when there may be several sets of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchvise.core.checkpoint.formats.registry import holds_tensors
from benchvise.core.checkpoint.header import listed
from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.checkpoint.repository import folder_of_pipeline, snapshot_of_cache
from benchvise.core.checkpoint.shard_index import read_index
from benchvise.core.errors import CheckpointError

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "safetensors": (".safetensors",),
    "torch": (".bin", ".pt", ".pth", ".th", ".ckpt", ".pyth", ".pth.tar", ".pkl", ".pickle", ".pdparams"),
    "gguf": (".gguf",),
    "hdf5": (".h5", ".hdf5", ".keras"),
    "msgpack": (".msgpack",),
    "npz": (".npz", ".npy"),
    "onnx": (".onnx",),
}
"""How the names of weight files end by their kind, the kind that is preferred first. Content decides what a file is."""

INDEX_SUFFIXES: Mapping[str, str] = {"safetensors": ".safetensors.index.json", "torch": ".bin.index.json"}

_SINGLES: Mapping[str, tuple[str, ...]] = {
    "safetensors": ("model.safetensors", "diffusion_pytorch_model.safetensors", "adapter_model.safetensors"),
    "torch": ("pytorch_model.bin", "diffusion_pytorch_model.bin", "adapter_model.bin"),
    "hdf5": ("tf_model.h5", "model.weights.h5"),
    "msgpack": ("flax_model.msgpack",),
    "onnx": ("model.onnx",),
}
_SHARD = re.compile(r"(?P<stem>.*?)-?(?P<number>\d{5})-of-(?P<total>\d{5})\.\w+$")
_NOT_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state|random_states)", re.IGNORECASE)
_MAX_SNIFFED = 200


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files to open: their names within `folder`, in order, and the index that lists their tensors, if any."""

    folder: Path
    names: tuple[str, ...]
    weight_map: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def sharded(self) -> bool:
        return len(self.names) > 1 or bool(self.weight_map)


def find_weights(folder: Path) -> WeightFiles:
    """The weights of a folder: safetensors before torch files before all others, a single file before an index before
    loose files. In the download cache's folder of a model they are those of its main revision.

    Raises CheckpointError when there are none, or when it is not clear which ones are meant.
    """
    folder = snapshot_of_cache(folder)
    try:
        names = sorted(path.name for path in folder.iterdir() if _may_be_weights(path))
    except OSError as error:
        raise CheckpointError(f"The folder cannot be read: {error.strerror}", where=str(folder)) from error
    by_kind = {
        kind: [name for name in names if name.lower().endswith(suffixes) and not _NOT_WEIGHTS.match(name)]
        for kind, suffixes in SUFFIXES.items()
    }
    for kind, candidates in by_kind.items():
        indexes = [name for name in names if kind in INDEX_SUFFIXES and name.endswith(INDEX_SUFFIXES[kind])]
        if candidates or indexes:
            weights = _choose(folder, kind, candidates, indexes)
            unused = [name for found in by_kind.values() for name in found if name not in weights.names]
            return _with_warning(weights, unused)
    folder_of_pipeline(folder)
    return WeightFiles(folder, (_by_content(folder, names),))


def _may_be_weights(path: Path) -> bool:
    """Files, and links that lead nowhere so that they are told of; no pipes or devices, which could block."""
    return not path.name.startswith(".") and (path.is_file() or (path.is_symlink() and not path.exists()))


def _by_content(folder: Path, names: list[str]) -> str:
    """The one file that holds tensors although its name does not say so."""
    found = [name for name in names[:_MAX_SNIFFED] if not _NOT_WEIGHTS.match(name) and holds_tensors(folder / name)]
    if not found:
        raise CheckpointError(
            "The folder holds no weights",
            where=str(folder),
            remedy="Choose a folder with a file of weights, for example one that ends in "
            f"{', '.join(suffixes[0] for suffixes in SUFFIXES.values())}.",
        )
    if len(found) > 1:
        raise _several(folder, found)
    return found[0]


def one_of_shards(name: str) -> bool:
    """Whether the file name is that of one shard among several."""
    found = _SHARD.match(name)
    return bool(found) and int(found["total"]) > 1 if found else False


def _choose(folder: Path, kind: str, candidates: list[str], indexes: list[str]) -> WeightFiles:
    for single in _SINGLES.get(kind, ()):
        if single in candidates:
            return WeightFiles(folder, (single,))
    if indexes:
        single = next((name for name in _SINGLES[kind] if f"{name}.index.json" in indexes), "")
        weight_map = read_index(folder / (f"{single}.index.json" if single else indexes[0]))
        return WeightFiles(folder, tuple(dict.fromkeys(weight_map.values())), weight_map)
    shards = _complete_shards(folder, candidates)
    if not shards and kind != "safetensors" and len(candidates) > 1:
        raise _several(folder, candidates)
    return WeightFiles(folder, tuple(shards or candidates))


def _several(folder: Path, names: list[str]) -> CheckpointError:
    return CheckpointError(
        f"The folder holds {len(names)} checkpoints: {listed(names, 5)}",
        where=str(folder),
        remedy=f"Open the one that you mean, for example {folder / names[0]}.",
    )


def _complete_shards(folder: Path, candidates: list[str]) -> list[str]:
    """The largest set of numbered shards, in order; empty when no file is one. Raises CheckpointError for gaps."""
    sets: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for name in candidates:
        found = _SHARD.match(name)
        if found:
            sets[found["stem"], int(found["total"])][int(found["number"])] = name
    if not sets:
        return []
    (_, total), shards = max(sets.items(), key=lambda item: len(item[1]))
    missing = [f"Shard {number} of {total} is missing" for number in range(1, total + 1) if number not in shards]
    if missing and 0 not in shards:
        raise checkpoint_error(
            missing, where=str(folder), remedy="Download the missing files, or open a single one of those there."
        )
    return [shards[number] for number in sorted(shards)]


def _with_warning(weights: WeightFiles, unused: list[str]) -> WeightFiles:
    if not unused:
        return weights
    used = weights.names[0] if len(weights.names) == 1 else f"{weights.names[0]}, …"
    warning = f"The folder holds other weights, which are not used: {listed(unused, 3)}. Used: {used}"
    return WeightFiles(weights.folder, weights.names, weights.weight_map, (warning,))
