"""The index of a checkpoint in several files: which tensor lies in which file.

Names in an index come from whoever made the checkpoint, so they may only point to files within its folder. A file that
is itself a symbolic link may lead elsewhere: the download cache of Hugging Face consists of such links, and only the
owner of the machine can place them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from benchvise.core.checkpoint.header import Header, listed
from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.errors import CheckpointError

_REMEDY = "Download the checkpoint again, or open a single one of its files."


def read_index(path: Path) -> dict[str, str]:
    """Tensor names and their file names, relative to the index's folder; every file is there.

    Raises CheckpointError for an index that is no such thing, points outside its folder, or to files that are missing.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"The index cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The index is not valid JSON: {error}", where=str(path), remedy=_REMEDY) from error
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError("The index has no 'weight_map' from tensors to files", where=str(path), remedy=_REMEDY)
    files = list(dict.fromkeys(weight_map.values()))
    outside = [f"The index points outside its folder, to '{name}'" for name in files if not is_within(name)]
    if outside:
        raise checkpoint_error(
            outside, where=str(path), remedy="Do not trust this checkpoint; an honest one names files beside its index."
        )
    missing = [f"The shard '{name}' is missing" for name in files if not (path.parent / name).is_file()]
    if missing:
        raise checkpoint_error(missing, where=str(path), remedy="Download the missing files into the same folder.")
    return weight_map


def check_shards(headers: Mapping[str, Header], weight_map: Mapping[str, str], where: Path) -> tuple[str, ...]:
    """Compares an index with the headers of its files by file name; the warnings, or CheckpointError.

    An empty `weight_map` stands for shards without an index: then only names in two shards are an error.
    """
    homes: dict[str, str] = {}
    problems = []
    for file, header in headers.items():
        for entry in header.entries:
            home = homes.setdefault(entry.name, file)
            if home is not file:
                problems.append(f"'{entry.name}' is stored in {home} and in {file}")
    ghosts = [name for name in weight_map if name not in homes]
    for name, file in weight_map.items():
        if name in homes and homes[name] != file and not problems:
            problems.append(f"'{name}' is not in {file}, where the index says it is")
    if weight_map and len(ghosts) == len(weight_map):
        problems.append(f"None of the {len(ghosts)} tensors of the index is stored, first '{ghosts[0]}'")
    if problems:
        raise checkpoint_error(problems, where=str(where), remedy=_REMEDY)
    warnings = []
    if ghosts:
        count = "1 tensor" if len(ghosts) == 1 else f"{len(ghosts)} tensors"
        warnings.append(f"The index names {count} that no file holds: {listed(ghosts)}.")
    extra = [name for name in homes if name not in weight_map] if weight_map else []
    if extra:
        warnings.append(
            f"{len(extra)} tensors are stored but not in the index, first '{extra[0]}'; they are shown too."
        )
    return tuple(warnings)


def is_within(name: str) -> bool:
    """Whether the file name stays in the folder on every system it could be read on."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or "\0" in name:
        return False
    return bool(posix.parts) and ".." not in posix.parts and ".." not in windows.parts
