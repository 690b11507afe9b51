"""Plan warnings and other remarks of a job as sentences, for window, command line, notes and pre-flight check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchvise.core.recipe.plan_warning import PlanWarning

MAX_LISTED = 8
"""Names of layers in a warning of a plan; the others are counted."""
MAX_NAMED = 5
"""The same in a warning of an export."""

_OBSTACLES = {
    "kept": "layers that are kept compute with inputs as they are",
    "embedding": "an embedding is looked up, not multiplied",
    "not linear": "it is no linear layer",
    "expert": "models compute all experts of a block in one piece, with no layer for each",
    "router": "routers choose experts by them",
    "no architecture": "fixed scales come from calibration text, and no config.json says how the network computes",
}
_LOST = {
    "transform": "the transform '{}' is not carried out",
    "tuning": "the tuning step '{}' is not carried out",
}


def sentences(plan_warnings: Iterable[PlanWarning]) -> tuple[str, ...]:
    return tuple(map(sentence, plan_warnings))


def sentence(warning: PlanWarning) -> str:
    """The warning with the layers that it is about, in one line."""
    names, why = warning.layers, reason(warning)
    match warning.kind:
        case "fitted" | "inputs" | "skipped" | "larger":
            return about_layers(why, names)
        case "dense":
            treated = [f"{name} ({tag})" for name, tag in zip(names, warning.treatments, strict=True)]
            are = "is" if len(names) == 1 else "are"
            return f"{_named(treated)} {are} written dense, with the values computed here, in the original dtype: {why}"
        case "adapted":
            return f"{len(names)} {why}. First: {_named(names)}"
        case "run inputs":
            return (
                f"The inputs of {len(names)} layers are quantised in the run, which a dense tensor cannot say: whoever "
                f"loads it computes with inputs as they are. First: {_named(names)}"
            )
        case "left out":
            return about_layers(f"not written: {warning.cause}", names)
        case "tokenizer":
            return f"{why[0].upper()}{why[1:]}"
        case "everything":
            return f"Everything is written dense, in the original dtype. {why}."
    return why


def reason(warning: PlanWarning) -> str:
    """Why, as a phrase that names no layers; for kinds that are about none, the whole sentence."""
    match warning.kind:
        case "inputs":
            return f"inputs are not quantised: {_OBSTACLES[warning.cause]}"
        case "skipped":
            return "kept as they are, being no floating-point matrices"
        case "larger":
            return f"{warning.asked} takes more bytes than the layer has now"
        case "unmatched":
            number = 1 if warning.rule is None else warning.rule + 1
            hint = f" Did you mean '{warning.got}'?" if warning.got else ""
            return f"Rule {number}: the {warning.cause} '{warning.asked}' matches no layer.{hint}"
        case "idle":
            return f"The surgery '{warning.asked}' changes nothing: it names nothing to leave out"
        case "lost":
            return f"Without an architecture (no config.json names one) {_lost(warning)}"
        case "adapted":
            return f"{warning.asked} layers are written with {warning.got}"
        case "run inputs":
            return "a dense tensor cannot say that its inputs are quantised"
        case "fitted" | "tokenizer" | "sentence":
            return warning.got
    return warning.cause


def few_windows(where: str, found: int, asked: int, tokens: int) -> str:
    """That the calibration text at `where` is too short for the windows, of `tokens` tokens, that are asked for."""
    return f"The calibration text ({where}) fills only {found} of {asked} windows of {tokens} tokens"


def short_windows(tokens: int, asked: int) -> str:
    return f"Calibration windows of {tokens} tokens instead of {asked}: the model knows no more positions"


def about_layers(phrase: str, names: Sequence[str]) -> str:
    """A phrase and the layers it is about, as one line."""
    count = f"{len(names)} layers" if len(names) > 1 else "1 layer"
    return f"{count}: {phrase}: {_named(names, MAX_LISTED)}"


def _lost(warning: PlanWarning) -> str:
    if warning.cause in _LOST:
        return _LOST[warning.cause].format(warning.asked)
    count = f"{len(warning.layers)} layers are" if len(warning.layers) > 1 else f"'{warning.layers[0]}' is"
    return f"{count} solved from weights alone, as if every input mattered equally"


def _named(names: Sequence[str], most: int = MAX_NAMED) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
