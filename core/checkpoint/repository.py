"""Folders that stand for a checkpoint elsewhere: the download cache of Hugging Face, and pipelines of diffusers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchvise.core.checkpoint.header import listed
from benchvise.core.errors import CheckpointError

_REVISION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")
_MAX_REFERENCE = 256
_MAX_INDEX = 1 << 20


def snapshot_of_cache(folder: Path) -> Path:
    """The snapshot that `refs/main` names, or the only one there; `folder` itself when it is no cache of a model.

    Raises CheckpointError when the reference is damaged, points outside, or to nothing that was downloaded.
    """
    snapshots = folder / "snapshots"
    if not snapshots.is_dir() or (not (folder / "blobs").is_dir() and not (folder / "refs").is_dir()):
        return folder
    reference = folder / "refs" / "main"
    try:
        if reference.is_file():
            with reference.open("rb") as file:
                revision = file.read(_MAX_REFERENCE).decode("utf-8", "replace").strip()
            return _snapshot(snapshots, revision, reference)
        found = sorted(path.name for path in snapshots.iterdir() if path.is_dir())
    except OSError as error:
        raise CheckpointError(f"The folder cannot be read: {error.strerror}", where=str(folder)) from error
    if len(found) == 1:
        return snapshots / found[0]
    what = f"holds {len(found)} revisions: {listed(found)}" if found else "holds no revision"
    raise CheckpointError(
        f"The download cache of this model has no 'refs/main' and {what}",
        where=str(folder),
        remedy="Open the folder of the revision that you mean, in 'snapshots'."
        if found
        else "Download the model again.",
    )


def _snapshot(snapshots: Path, revision: str, reference: Path) -> Path:
    if not _REVISION.fullmatch(revision):
        raise CheckpointError(
            f"'refs/main' does not name a revision but {revision[:60]!r}",
            where=str(reference),
            remedy="Do not trust this folder; download the model again.",
        )
    if not (snapshots / revision).is_dir():
        raise CheckpointError(
            f"The revision '{revision}' that 'refs/main' names was not downloaded",
            where=str(reference),
            remedy="Download the model again, or open a folder in 'snapshots'.",
        )
    return snapshots / revision


def folder_of_pipeline(folder: Path) -> None:
    """Raises CheckpointError that lists the parts when `folder` is a pipeline of diffusers."""
    index = folder / "model_index.json"
    if not index.is_file():
        return
    try:
        with index.open("rb") as file:
            described = json.loads(file.read(_MAX_INDEX).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        described = {}
    named = described if isinstance(described, dict) else {}
    holding = sorted(part.name for part in folder.iterdir() if part.is_dir() and any(map(_is_weights, part.iterdir())))
    kind = str(named.get("_class_name", "diffusers"))[:80]
    raise CheckpointError(
        f"This is a pipeline ({kind}); its parts with weights: {listed(holding, 10) or 'none'}",
        where=str(folder),
        remedy=f"Open one of its parts, for example {folder / holding[0]}." if holding else "Download it again.",
    )


def _is_weights(path: Path) -> bool:
    return path.suffix in (".safetensors", ".bin", ".msgpack", ".onnx") and path.is_file()
