"""Which files of a folder hold the weights, when there may be several sets of them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.checkpoint.shard_index import read_index
from benchvise.core.errors import CheckpointError

Format = Literal["safetensors", "torch"]

TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".th", ".ckpt")
SUFFIXES: dict[Format, tuple[str, ...]] = {"safetensors": (".safetensors",), "torch": TORCH_SUFFIXES}
INDEX_SUFFIXES: dict[Format, str] = {"safetensors": ".safetensors.index.json", "torch": ".bin.index.json"}

_SINGLE: dict[Format, str] = {"safetensors": "model.safetensors", "torch": "pytorch_model.bin"}
_SHARD = re.compile(r"(?P<stem>.*?)-?(?P<number>\d{5})-of-(?P<total>\d{5})\.\w+$")
_NOT_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state|random_states)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files to open: their names within `folder`, in order, and the index that lists their tensors, if any."""

    folder: Path
    format: Format
    names: tuple[str, ...]
    weight_map: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def sharded(self) -> bool:
        return len(self.names) > 1 or bool(self.weight_map)


def find_weights(folder: Path) -> WeightFiles:
    """The weights of a folder: safetensors before torch files, a single file before an index before loose files.

    Raises CheckpointError when there are none, or when it is not clear which ones are meant.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if _may_be_weights(path))
    except OSError as error:
        raise CheckpointError(f"The folder cannot be read: {error.strerror}", where=str(folder)) from error
    by_format: dict[Format, list[str]] = {
        form: [name for name in names if name.endswith(suffixes) and not _NOT_WEIGHTS.match(name)]
        for form, suffixes in SUFFIXES.items()
    }
    for form, candidates in by_format.items():
        indexes = [name for name in names if name.endswith(INDEX_SUFFIXES[form])]
        if candidates or indexes:
            weights = _choose(folder, form, candidates, indexes)
            unused = [name for found in by_format.values() for name in found if name not in weights.names]
            return _with_warning(weights, unused)
    raise CheckpointError(
        "The folder holds no weights",
        where=str(folder),
        remedy=f"Choose a folder with files that end in .safetensors, {', '.join(TORCH_SUFFIXES)}.",
    )


def _may_be_weights(path: Path) -> bool:
    """Files, and links that lead nowhere so that they are told of; no pipes or devices, which could block."""
    return not path.name.startswith(".") and (path.is_file() or (path.is_symlink() and not path.exists()))


def one_of_shards(name: str) -> bool:
    """Whether the file name is that of one shard among several."""
    found = _SHARD.match(name)
    return bool(found) and int(found["total"]) > 1 if found else False


def _choose(folder: Path, form: Format, candidates: list[str], indexes: list[str]) -> WeightFiles:
    single = _SINGLE[form]
    if single in candidates:
        return WeightFiles(folder, form, (single,))
    if indexes:
        index = f"{single}.index.json"
        weight_map = read_index(folder / (index if index in indexes else indexes[0]))
        return WeightFiles(folder, form, tuple(dict.fromkeys(weight_map.values())), weight_map)
    shards = _complete_shards(folder, candidates)
    if not shards and form == "torch" and len(candidates) > 1:
        raise CheckpointError(
            f"The folder holds {len(candidates)} torch files: {', '.join(candidates[:5])}",
            where=str(folder),
            remedy="Open the one that you mean.",
        )
    return WeightFiles(folder, form, tuple(shards or candidates))


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
    rest = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
    used = weights.names[0] if len(weights.names) == 1 else f"{weights.names[0]}, …"
    warning = f"The folder holds other weights, which are not used: {', '.join(unused[:3])}{rest}. Used: {used}"
    return WeightFiles(weights.folder, weights.format, weights.names, weights.weight_map, (warning,))
