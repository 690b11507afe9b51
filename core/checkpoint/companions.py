"""The files beside the weights: the config, and what has to travel with an exported checkpoint."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

from benchvise.core.errors import CheckpointError

CARRIED = (
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges*", "spiece.model", "tekken.json",
    "sentencepiece*", "chat_template*", "LICENSE*", "LICENCE*", "NOTICE*",
    "modules.json", "config_sentence_transformers.json", "sentence_*_config.json",
)  # fmt: skip
"""Names of files that are carried along. Code never is."""

_MODULES = "modules.json"
_QUANTIZATION_KEYS = ("quantization_config", "compression_config")


def read_config(folder: Path) -> dict[str, object]:
    """The folder's `config.json`, {} when there is none. Raises CheckpointError when it is not a JSON object."""
    return _read_object(folder / "config.json")


def find_companions(folder: Path) -> tuple[str, ...]:
    """Absolute paths of the files to carry along on export, sorted by name; those of sentence-transformers last.

    Its `modules.json` names folders of modules that come after the network: without them its embeddings are others.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix != ".py" and any(fnmatch(path.name, pattern) for pattern in CARRIED)
    ]
    for name in _module_folders(folder):
        found += [path for path in sorted((folder / name).iterdir()) if path.is_file() and path.suffix != ".py"]
    return tuple(map(str, found))


def carried_name(path: Path, checkpoint: Path) -> Path:
    """Where a companion of the checkpoint at `checkpoint` lies in an export: as it does beside the weights."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    return path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)


def _module_folders(folder: Path) -> list[str]:
    """The folders within `folder` that `modules.json` names; a list that is none, or names other places, counts not."""
    try:
        modules = json.loads((folder / _MODULES).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return []
    named = [each.get("path") for each in modules if isinstance(each, dict)] if isinstance(modules, list) else []
    within = {path.name for path in folder.iterdir() if path.is_dir() and not path.is_symlink()}
    return sorted({name for name in named if isinstance(name, str)} & within)


def quantization_of(config: dict[str, object], folder: Path) -> dict[str, object] | None:
    """How the checkpoint says it is already quantised; None when it does not."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for key in _QUANTIZATION_KEYS:
            found = part.get(key)
            if isinstance(found, dict):
                return found
    return _read_object(folder / "quantize_config.json") or None


def _read_object(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name} is not valid JSON: {error}",
            where=str(path),
            remedy="Fix or remove it; without it the checkpoint opens as plain tensors.",
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path.name} is not a JSON object but a {type(found).__name__}",
            where=str(path),
            remedy="Fix or remove it; without it the checkpoint opens as plain tensors.",
        )
    return found
