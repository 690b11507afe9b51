"""How a checkpoint is described to llama.cpp: architecture and metadata, from its config or its own GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchvise.core.checkpoint.formats.gguf_metadata import ListedTensor, read_listing, read_typed_values
from benchvise.core.checkpoint.formats.gguf_names import NOT_WEIGHTS, family_of
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.export.gguf.architecture import GgufArchitecture
from benchvise.core.export.gguf.architectures import ARCHITECTURES, architecture_for
from benchvise.core.export.gguf.entries import MetadataEntry, count, text
from benchvise.core.export.gguf.hyperparameters import hyperparameters, rotary, settings_of, unlike
from benchvise.core.export.gguf.tokenizer import vocabulary
from benchvise.core.export.gguf.tokenizer_files import read_tokenizer_files

_WRITTEN_ANEW = ("general.file_type", "general.quantization_version", "general.alignment", "split.", "benchvise.")


@dataclass(frozen=True)
class Described:
    """architecture: None where llama.cpp has none for the checkpoint, and `refusal` says so.

    settings: of the language model, completed by defaults. blocks: how many there are.
    as_named: whether tensors keep the names that they have. tables: values of tensors that follow from the config.
    notes: what the file cannot say, as phrases.
    """

    architecture: GgufArchitecture | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    blocks: int = 0
    entries: Mapping[str, MetadataEntry] = field(default_factory=dict)
    tables: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    as_named: bool = False
    notes: tuple[str, ...] = ()
    refusal: str = ""


def described(checkpoint: Checkpoint) -> Described:
    """The description; files are read again only when they have changed. Raises CheckpointError for damaged ones."""
    if checkpoint.kind == "gguf" and checkpoint.layers:
        path = Path(checkpoint.layers[0].tensor.file)
        found = _of_file(path, path.stat().st_mtime_ns, _blocks(checkpoint))
        return replace(found, settings=checkpoint.config, blocks=_blocks(checkpoint))
    return _of_config(_Hashed(checkpoint, _stamp(checkpoint)))


def _stamp(checkpoint: Checkpoint) -> tuple[tuple[str, int], ...]:
    return tuple((path, Path(path).stat().st_mtime_ns if Path(path).exists() else 0) for path in checkpoint.companions)


@dataclass(frozen=True)
class _Hashed:
    """A checkpoint that a cache can keep: equal while it is the same object and its small files are the same."""

    checkpoint: Checkpoint = field(compare=False)
    stamp: tuple[tuple[str, int], ...]
    identity: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", id(self.checkpoint))


@lru_cache(maxsize=4)
def _of_config(hashed: _Hashed) -> Described:
    checkpoint = hashed.checkpoint
    config = _of_text(checkpoint.config)
    architecture = architecture_for(config)
    if architecture is None:
        known = ", ".join(sorted(name for each in ARCHITECTURES for name in each.model_types))
        what = f"the architecture '{config['model_type']}'" if config.get("model_type") else "no architecture"
        return Described(None, refusal=f"Its config names {what}, and these are written as GGUF: {known}")
    settings = settings_of(architecture, config)
    problem = unlike(architecture, settings)
    if problem:
        return Described(architecture, refusal=f"llama.cpp would compute something else: {problem}")
    rows = _embedding_rows(checkpoint)
    words = vocabulary(read_tokenizer_files(checkpoint.companions), config, rows)
    if words.refusal:
        return Described(architecture, refusal=words.refusal)
    named = {
        "general.type": text("model"),
        "general.name": text(Path(checkpoint.path).name),
        **hyperparameters(architecture, settings, rows),
        **_token_types(settings),
        **words.entries,
        **_pooling(checkpoint, architecture),
    }
    tables = rotary(architecture, settings).tables if architecture.rotary else {}
    return Described(architecture, settings, _blocks(checkpoint), named, tables, notes=words.notes)


@lru_cache(maxsize=4)
def _of_file(path: Path, stamp: int, blocks: int) -> Described:  # noqa: ARG001 - a changed file is another
    with path.open("rb") as file:
        listing = read_listing(file, path.stat().st_size, str(path))
    key, family = listing.text("general.architecture"), family_of(listing)
    entries = {
        name: MetadataEntry(found.value, found.kind, found.element if found.element >= 0 else None)
        for name, found in read_typed_values(path).items()
        if not name.startswith(_WRITTEN_ANEW)
    }
    if f"{key}.block_count" in entries and blocks:
        entries[f"{key}.block_count"] = count(blocks)
    tables = {tensor.name: _table(path, tensor) for tensor in listing.tensors if NOT_WEIGHTS.search(tensor.name)}
    if family is None:
        return Described(GgufArchitecture(key, ()), entries=entries, tables=tables, as_named=True)
    known = next((each for each in ARCHITECTURES if each.key == key), None)
    changed = GgufArchitecture(key, (), pairs=family.pairs, norm=family.norm)
    return Described(known or changed, entries=entries, tables=tables)


def _table(path: Path, tensor: ListedTensor) -> tuple[float, ...]:
    """A table of rotary factors, as it is stored: numbers of 32 bits."""
    import numpy as np

    with path.open("rb") as file:
        file.seek(tensor.offset)
        return tuple(np.frombuffer(file.read(tensor.nbytes), "<f4").tolist())


def _of_text(config: Mapping[str, object]) -> dict[str, object]:
    """The config of the language model, where one of several models is."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, Mapping) else dict(config)


def _blocks(checkpoint: Checkpoint) -> int:
    return 1 + max((layer.depth for layer in checkpoint.layers if layer.depth is not None), default=-1)


def _embedding_rows(checkpoint: Checkpoint) -> int:
    """Rows of the embedding of words, which come before those of positions and types."""
    embeddings = [layer for layer in checkpoint.layers if layer.kind == "embedding"]
    return max((layer.shape[0] for layer in embeddings), default=0)


def _token_types(settings: Mapping[str, Any]) -> dict[str, MetadataEntry]:
    kinds = settings.get("type_vocab_size")
    return {"tokenizer.ggml.token_type_count": count(kinds)} if isinstance(kinds, int) else {}


def _pooling(checkpoint: Checkpoint, architecture: GgufArchitecture) -> dict[str, MetadataEntry]:
    """How an encoder's outputs become one vector; sentence-transformers says it in a folder of its own."""
    if architecture.rotary:
        return {}
    import json

    place = Path(checkpoint.path) / "1_Pooling" / "config.json"
    try:
        said = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    except (OSError, ValueError):
        said = {}
    modes = {"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 2, "pooling_mode_lasttoken": 3}
    kind = next((number for mode, number in modes.items() if said.get(mode)), 0)
    return {f"{architecture.key}.pooling_type": count(kind)}
