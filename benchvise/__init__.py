"""Benchvise from Python: the requests that the window and the command line send, as functions.

    import benchvise

    plan = benchvise.plan("model", "int4-g128")
    run = benchvise.compress("model", "int4-g128", out="small")
    print(benchvise.evaluate("small", against="model").kl_mean)

A recipe is the name of a preset, a YAML file, a mapping with the keys of such a file, or a `Recipe`. The records that
come back are those of `benchvise.core.protocol.results`. Errors that a person can fix are `UserError` with the fields
what, where and remedy. Importing this module imports neither torch nor Qt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from benchvise.core.checkpoint.records import Checkpoint
    from benchvise.core.progress import Progress
    from benchvise.core.protocol.requests import Request
    from benchvise.core.protocol.results import Evaluation, Exported, Planned, Run
    from benchvise.core.recipe.recipe import Recipe

    RecipeLike = Recipe | Mapping[str, object] | str | Path

__all__ = ["compress", "evaluate", "export", "open", "plan"]

T = TypeVar("T")


def open(path: str | Path) -> Checkpoint:  # noqa: A001 - the word that the window and the command line use
    """Open a checkpoint: read headers, no weight. Raises CheckpointError."""
    from benchvise.core.checkpoint.open import open_checkpoint

    return open_checkpoint(str(path))


def plan(path: str | Path, recipe: RecipeLike) -> Planned:
    """Resolve a recipe on a checkpoint: treatment and exact bytes of each layer. Raises UserError."""
    from benchvise.core.protocol.requests import MakePlan
    from benchvise.core.protocol.results import Planned

    return _answer(MakePlan(str(path), _recipe(recipe)), Planned)


def compress(
    path: str | Path,
    recipe: RecipeLike,
    *,
    out: str | Path = "",
    to: str = "auto",
    resume: bool = False,
    workspace: str | Path = "",
    progress: Progress | None = None,
) -> Run:
    """Carry a recipe out and, with `out`, export the result to the target `to`. Raises UserError and Cancelled."""
    from benchvise.core.protocol.requests import Compress
    from benchvise.core.protocol.results import Run

    request = Compress(str(path), _recipe(recipe), str(workspace), str(out), to, resume)
    return _answer(request, Run, progress)


def evaluate(
    source: str | Path,
    *,
    against: str | Path = "",
    text: str | Path = "",
    workspace: str | Path = "",
    progress: Progress | None = None,
) -> Evaluation:
    """Measure perplexity, and the KL divergence from `against`; "" for `text` is the shipped text. Raises UserError."""
    from benchvise.core.protocol.requests import Evaluate
    from benchvise.core.protocol.results import Evaluation

    request = Evaluate(str(source), str(text), str(against), workspace=str(workspace))
    return _answer(request, Evaluation, progress)


def export(
    run: str | Path,
    out: str | Path,
    *,
    to: str = "auto",
    workspace: str | Path = "",
    progress: Progress | None = None,
) -> Exported:
    """Write a run ("run:ID"), or a folder that `compress` wrote, for the target `to`. Raises UserError."""
    from benchvise.core.protocol.requests import Export
    from benchvise.core.protocol.results import Exported

    return _answer(Export(str(run), to, str(out), str(workspace)), Exported, progress)


def _recipe(given: RecipeLike) -> Recipe:
    from benchvise.core.recipe.presets import load_preset
    from benchvise.core.recipe.recipe import Recipe, load_recipe, parse_recipe
    from benchvise.core.recipe.strict_yaml import write_yaml

    if isinstance(given, Recipe):
        return given
    if isinstance(given, Mapping):
        return parse_recipe(write_yaml(dict(given)), where="recipe")
    named = Path(given)
    return load_recipe(named) if named.suffix in (".yaml", ".yml") else load_preset(str(given))


def _answer(request: Request, kind: type[T], progress: Progress | None = None) -> T:
    from benchvise.core.engine import answer
    from benchvise.core.progress import NullProgress

    result = answer(request, progress or NullProgress())
    if not isinstance(result, kind):
        raise TypeError(f"{type(request).__name__} was answered by {type(result).__name__}, not {kind.__name__}")
    return result
