"""Plan warnings and other remarks of a job as sentences, for window, command line, notes and pre-flight check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchvise.core.language import counted, message

if TYPE_CHECKING:
    from benchvise.core.recipe.plan_warning import PlanWarning

MAX_LISTED = 8
"""Names of layers in a warning of a plan; the others are counted."""
MAX_NAMED = 5
"""The same in a warning of an export."""

_OBSTACLES = {
    "kept": message("layers that are kept compute with inputs as they are"),
    "embedding": message("an embedding is looked up, not multiplied"),
    "not linear": message("it is no linear layer"),
    "expert": message("models compute all experts of a block in one piece, with no layer for each"),
    "router": message("routers choose experts by them"),
    "no architecture": message(
        "fixed scales come from calibration text, and no config.json says how the network computes"
    ),
}
_IDLE = {
    "surgery": message("The surgery '{asked}' changes nothing: it names nothing to leave out"),
    "tuning": message("The tuning step '{asked}' trains norms and biases alone: the recipe compresses no layer"),
}
_LOST = {
    "transform": message("the transform '{title}' is not carried out"),
    "tuning": message("the tuning step '{title}' is not carried out"),
}


def sentences(plan_warnings: Iterable[PlanWarning]) -> tuple[str, ...]:
    return tuple(map(sentence, plan_warnings))


def sentence(warning: PlanWarning) -> str:
    """The warning with the layers that it is about, in one line."""
    names, why = warning.layers, reason(warning)
    match warning.kind:
        case "fitted" | "inputs" | "skipped" | "larger" | "again" | "shared out" | "over budget":
            return about_layers(why, names)
        case "dense":
            treated = [f"{name} ({tag})" for name, tag in zip(names, warning.treatments, strict=True)]
            if len(names) == 1:
                return message(
                    "{named} is written dense, with the values computed here, in the original dtype: {why}",
                    named=treated[0],
                    why=why,
                )
            return message(
                "{named} are written dense, with the values computed here, in the original dtype: {why}",
                named=_named(treated),
                why=why,
            )
        case "adapted":
            return message("{count} {why}. First: {named}", count=len(names), why=why, named=_named(names))
        case "run inputs":
            return message(
                "The inputs of {count} layers are quantised in the run, which a dense tensor cannot say: "
                "whoever loads it computes with inputs as they are. First: {named}",
                count=len(names),
                named=_named(names),
            )
        case "left out":
            return about_layers(message("not written: {cause}", cause=warning.cause), names)
        case "tokenizer":
            return f"{why[0].upper()}{why[1:]}"
        case "everything":
            return message("Everything is written dense, in the original dtype. {why}.", why=why)
    return why


_OF_ASKED = {
    "over budget": message("they take at least {got} bits per weight together, more than the {asked} asked for"),
    "again": message("compressed a second time, from {asked}: the error adds to what it has"),
    "larger": message("{asked} takes more bytes than the layer has now"),
    "adapted": message("{asked} layers are written with {got}"),
    "turned": message("Rule {number}: there are no linear layers, so that its convolutions are meant"),
}
_FIXED = {
    "skipped": message("kept as they are, being no floating-point matrices"),
}
_SHARED_OUT = {
    "": message("the run finds their ranks, within the bytes that are planned for all of them"),
    "bits": message("the run finds their bits, within the bytes that are planned for all of them"),
}


def reason(warning: PlanWarning) -> str:
    """Why, as a phrase that names no layers; for kinds that are about none, the whole sentence."""
    if warning.kind in _FIXED:
        return _FIXED[warning.kind]
    if warning.kind in _OF_ASKED:
        number = 1 if warning.rule is None else warning.rule + 1
        return message(_OF_ASKED[warning.kind], asked=warning.asked, got=warning.got, number=number)
    match warning.kind:
        case "inputs":
            return message("inputs are not quantised: {cause}", cause=_OBSTACLES[warning.cause])
        case "shared out":
            return _SHARED_OUT[warning.cause]
        case "unmatched":
            number = 1 if warning.rule is None else warning.rule + 1
            hint = message(" Did you mean '{got}'?", got=warning.got) if warning.got else ""
            return message(
                "Rule {number}: the {cause} '{asked}' matches no layer.{hint}",
                number=number,
                cause=warning.cause,
                asked=warning.asked,
                hint=hint,
            )
        case "idle":
            return message(_IDLE[warning.cause or "surgery"], asked=warning.asked)
        case "lost":
            return message("Without an architecture (no config.json names one) {lost}", lost=_lost(warning))
        case "run inputs":
            return message("a dense tensor cannot say that its inputs are quantised")
        case "fitted" | "tokenizer" | "sentence":
            return warning.got
    return warning.cause


def few_windows(where: str, found: int, asked: int, tokens: int) -> str:
    """That the calibration text at `where` is too short for the windows, of `tokens` tokens, that are asked for."""
    return message(
        "The calibration text ({where}) fills only {found} of {asked} windows of {tokens} tokens",
        where=where,
        found=found,
        asked=asked,
        tokens=tokens,
    )


def few_samples(where: str, found: int, asked: int) -> str:
    """That `where` holds fewer samples to calibrate on than are asked for."""
    return message("{where} holds only {found} of {asked} samples", where=where, found=found, asked=asked)


def short_windows(tokens: int, asked: int) -> str:
    return message(
        "Calibration windows of {tokens} tokens instead of {asked}: the model knows no more positions",
        tokens=tokens,
        asked=asked,
    )


def less_at_once(title: str, samples: int) -> str:
    """That a step of training ran out of memory, and with how many samples at once it goes on."""
    return (
        f"Out of memory: {title.lower()} goes on with {samples} samples at once, and adds up their gradients (sums may "
        "differ in their last digits from those of a run with enough memory)"
    )


def learned_often(title: str, samples: int, times: float) -> str:
    """That the text is short for a step of training, which learns from each of so many samples so many times."""
    return message(
        "{title} learns from each of the text's {samples} samples about {times} times: a longer text gains more than "
        "more steps",
        title=title,
        samples=samples,
        times=round(times),
    )


def about_layers(phrase: str, names: Sequence[str]) -> str:
    """A phrase and the layers it is about, as one line."""
    count = counted(len(names), "{count} layer", "{count} layers")
    return message("{count}: {phrase}: {named}", count=count, phrase=phrase, named=_named(names, MAX_LISTED))


def _lost(warning: PlanWarning) -> str:
    if warning.cause in _LOST:
        return message(_LOST[warning.cause], title=warning.asked)
    if len(warning.layers) == 1:
        return message(
            "'{name}' is solved from weights alone, as if every input mattered equally", name=warning.layers[0]
        )
    return message(
        "{count} layers are solved from weights alone, as if every input mattered equally", count=len(warning.layers)
    )


def _named(names: Sequence[str], most: int = MAX_NAMED) -> str:
    more = message(" and {count} more", count=len(names) - most) if len(names) > most else ""
    return ", ".join(names[:most]) + more
