"""Small checkpoints with many blocks, recipes for them, and what a workspace holds afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchvise.core.compress import layer_matrix
from benchvise.core.errors import Cancelled
from benchvise.core.job.job import compress
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.protocol.results import LayerCompressed, Run
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

BLOCK_BYTES = 4096

INT4 = Treatment(Integer(bits=4, group_size=16))
CLIPPED = Treatment(Integer(bits=3, symmetric=False, granularity="channel"), Nearest(clip_search=True, clip_steps=4))
WHOLE = Treatment(Integer(bits=8, symmetric=False, granularity="tensor"))
GLOBAL = Treatment(Sparse(fraction=0.4, scope="global"))

MIXED = Recipe(
    (
        Rule(("linears",), INT4),
        Rule(("re:.*(up|q)_proj",), CLIPPED),
        Rule(("re:.*o_proj",), GLOBAL),
        Rule(("embeddings",), WHOLE),
    ),
    name="mixed",
)
"""Every route: groups in one pass, a search, one grid for a whole tensor, one threshold over several layers."""


def network(folder: Path, *, depth: int = 2, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Path:
    """A checkpoint of `depth` blocks whose layers are each several blocks of `BLOCK_BYTES` long."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    shapes = {"model.embed_tokens": (50, 64), "model.norm": (64,)}
    for index in range(depth):
        block = f"model.layers.{index}"
        shapes |= {f"{block}.self_attn.{name}_proj": (64, 64) for name in "qo"}
        shapes |= {f"{block}.mlp.up_proj": (176, 64), f"{block}.mlp.down_proj": (64, 176)}
    tensors = {
        f"{name}.weight": (torch.randn(shape, generator=generator) * 0.03).to(dtype) for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def run_recipe(
    checkpoint: Path,
    workspace: Path,
    recipe: Recipe = MIXED,
    *,
    resume: bool = False,
    progress: NullProgress | None = None,
) -> Run:
    request = Compress(str(checkpoint), recipe, workspace=str(workspace), resume=resume)
    return compress(request, progress or NullProgress())


def small_blocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layer_matrix, "BLOCK_BYTES", BLOCK_BYTES)


def digests(folder: Path, pattern: str = "**/*") -> dict[str, str]:
    """sha256 of every file of the folder, by its path in it."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def records(workspace: Path) -> dict[str, str]:
    """sha256 of every layer record, and of everything else that lies among them."""
    return digests(workspace / "layers")


def timeless(run: Run) -> Run:
    """The run without what differs each time: its name, times and memory."""
    layers = tuple(replace(layer, seconds=0.0, resumed=False) for layer in run.layers)
    return replace(run, run="", seconds=0.0, peak_rss_bytes=0, layers=layers)


def manifests(workspace: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((workspace / "runs").glob("*/run.json"))]


class Stopping(NullProgress):
    """Cancels once so many layers are done."""

    def __init__(self, layers: int) -> None:
        self.left = layers

    def result(self, record: object) -> None:
        self.left -= isinstance(record, LayerCompressed)
        if not self.left:
            raise Cancelled


class Watcher(NullProgress):
    """Remembers what it is told, and does `act` when it has been called `at` times."""

    def __init__(self, at: int = 0, act: Callable[[], None] | None = None) -> None:
        self.at = at
        self.act = act
        self.calls = 0
        self.total = self.done = 0
        self.notes: list[str] = []
        self.results: list[LayerCompressed] = []

    def start(self, total: int, unit: str) -> None:
        assert unit == "bytes"
        self.total, self.done = total, 0
        self._called()

    def advance(self, units: int) -> None:
        self.done += units
        self._called()

    def check_cancelled(self) -> None:
        self._called()

    def note(self, message: str) -> None:
        self.notes.append(message)

    def result(self, record: object) -> None:
        assert isinstance(record, LayerCompressed)
        self.results.append(record)
        self._called()

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.at and self.act is not None:
            self.act()


def cancel() -> None:
    raise Cancelled
