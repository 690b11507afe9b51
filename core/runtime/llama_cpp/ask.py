"""llama.cpp asked about a GGUF file: what it computes, and how it reads text. It runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.llama_cpp.library import PACKAGE

_REMEDY = "Install another version of the package 'xllamacpp', or load the file with llama.cpp to see more."
_SHOWN = 400


@dataclass(frozen=True)
class Told:
    """What llama.cpp says of a file. tokens: of the texts that were asked for; none without a tokenizer."""

    vocabulary: int
    reads_text: bool
    tokens: tuple[tuple[int, ...], ...]


def is_installed() -> bool:
    """Whether the package that carries llama.cpp is."""
    return find_spec(PACKAGE) is not None


def tell(path: Path, texts: Sequence[str] = ()) -> Told:
    """Load the file and read the texts. Raises CheckpointError with llama.cpp's own words where it does not load."""
    with _asked(path, (), texts, embeds=False) as (told, _):
        return told


def logits(path: Path, sequences: Sequence[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
    """Outputs float32 [tokens, vocabulary] for each sequence of tokens. Raises CheckpointError as `tell`."""
    with _asked(path, sequences, (), embeds=False) as (told, stream):
        for sequence in sequences:
            yield _read(stream, path, (len(sequence), told.vocabulary))


def embeddings(path: Path, sequences: Sequence[Sequence[int]], width: int) -> Iterator[NDArray[np.float32]]:
    """The pooled vector float32 [width] for each sequence of tokens. Raises CheckpointError as `tell`."""
    with _asked(path, sequences, (), embeds=True) as (_, stream):
        for _sequence in sequences:
            yield _read(stream, path, (width,))


@contextmanager
def _asked(
    path: Path, sequences: Sequence[Sequence[int]], texts: Sequence[str], *, embeds: bool
) -> Iterator[tuple[Told, IO[bytes]]]:
    question = {
        "path": str(path), "sequences": [list(map(int, each)) for each in sequences], "texts": list(texts),
        "threads": torch.get_num_threads(), "embeds": embeds,
    }  # fmt: skip
    with TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "benchvise.core.runtime.llama_cpp.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
        )  # fmt: skip
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("a process without pipes")
        try:
            with suppress(BrokenPipeError):  # where it ended at once, what it said is read below
                child.stdin.write(json.dumps(question).encode() + b"\n")
                child.stdin.close()
            line = child.stdout.readline()
            told: dict[str, Any] = json.loads(line) if line else {"error": _last_words(child, said)}
            if "error" in told:
                what = f"llama.cpp does not load the file: {told['error']}"
                raise CheckpointError(what, where=str(path), remedy=_REMEDY)
            tokens = tuple(tuple(each) for each in told.get("tokens", ()))
            yield Told(told["vocabulary"], told["reads_text"], tokens), child.stdout
        finally:
            child.kill()
            child.stdout.close()
            child.wait()


def _read(stream: IO[bytes], path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    count = int(np.prod(shape))
    raw = stream.read(4 * count)
    if len(raw) != 4 * count:
        said = raw[raw.rfind(b'{"error"') :]
        why = json.loads(said)["error"] if said.startswith(b"{") else "it ended in the middle"
        raise CheckpointError(f"llama.cpp does not compute the file: {why}", where=str(path), remedy=_REMEDY)
    return np.frombuffer(raw, "<f4").reshape(shape)


def _last_words(child: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    """What the process complained of before it ended."""
    ended = child.wait()
    said.seek(0)
    return said.read().decode(errors="replace").strip()[-_SHOWN:] or f"it ended with {ended}"
