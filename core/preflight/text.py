"""Whether there is calibration text, and enough of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from benchvise.core.language import message
from benchvise.core.methods.tuning import MAX_PASSES
from benchvise.core.preflight import changes
from benchvise.core.preflight.facts import Facts, Surprise
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.editing import set_transforms
from benchvise.core.recipe.plan import Plan
from benchvise.core.wording import few_windows, learned_often, short_windows

Level = Literal["warns", "tells", "blocks"]

MAX_WINDOWS_SHORT = 0.5
"""A text that fills no more than this part of the windows is worth a warning."""


def text_findings(plan: Plan, facts: Facts) -> Iterator[Finding]:
    """What becomes of the calibration text, where anything reads it."""
    asked, found = plan.calibration, facts.text
    if asked is None or found is None:
        return
    nearest = Fix(message("Use nearest rounding, which needs no text"), changes.without_text(plan.recipe))
    shipped = (Fix(message("Use the shipped text"), changes.with_text(plan.recipe, "")),) if asked.text else ()
    if found.refusal is not None:
        refusal = found.refusal
        detail = f"{refusal.where}. {refusal.remedy}" if refusal.where else refusal.remedy
        yield Finding("calibration", "blocks", refusal.what, detail, fixes=(*shipped, nearest))
        return
    where = asked.text or message("the shipped calibration text")
    if found.windows < asked.windows:
        fewer = Fix(
            message("Use {windows} windows", windows=found.windows), changes.with_windows(plan.recipe, found.windows)
        )
        level: Level = "warns" if found.windows <= MAX_WINDOWS_SHORT * asked.windows else "tells"
        title = message("{windows} of {windows_2} calibration windows", windows=found.windows, windows_2=asked.windows)
        detail = f"{few_windows(where, found.windows, asked.windows, found.window_tokens)}."
        yield Finding("calibration", level, title, detail, fixes=(fewer, *shipped))
    if found.window_tokens < asked.window_tokens:
        shorter = Fix(
            message("Use windows of {window_tokens} tokens", window_tokens=found.window_tokens),
            changes.with_window_tokens(plan.recipe, found.window_tokens),
        )
        title = message("Shorter calibration windows")
        detail = f"{short_windows(found.window_tokens, asked.window_tokens)}."
        yield Finding("calibration", "tells", title, detail, fixes=(shorter,))
    if found.windows >= asked.windows and found.window_tokens >= asked.window_tokens:
        tokens = found.windows * found.window_tokens
        title = message(
            "Calibration: {windows:,} windows of {window_tokens:,} tokens",
            windows=found.windows,
            window_tokens=found.window_tokens,
        )
        yield Finding(
            "calibration", "fine", title, message("{tokens:,} tokens from {where}.", tokens=tokens, where=where)
        )


def training_findings(plan: Plan, facts: Facts) -> Iterator[Finding]:
    """Where a tuning step learns from the same samples again and again."""
    for step, found in zip(plan.recipe.tuning, facts.tuning_texts, strict=True) if facts.tuning_texts else ():
        if found is None or found.refusal is not None:
            continue
        times = step.passes(found.windows)
        if times > MAX_PASSES:
            title = message("The text is short for {title}", title=step.title)
            yield Finding("calibration", "warns", title, f"{learned_often(step.title, found.windows, times)}.")


def surprise_findings(plan: Plan, facts: Facts) -> Iterator[Finding]:
    """What the run will report when it reaches the step."""
    for surprise in facts.surprises:
        level: Level = "blocks" if surprise.refuses else "tells"
        yield Finding(
            surprise.kind, level, surprise.title, surprise.detail, surprise.layers, tuple(_without(plan, surprise))
        )


def _without(plan: Plan, surprise: Surprise) -> Iterator[Fix]:
    if surprise.kind == "surgery":
        yield Fix(message("Leave surgery out"), replace(plan.recipe, surgery=()))
    elif surprise.kind == "transform" and surprise.refuses:
        yield Fix(message("Leave transforms out"), set_transforms(plan.recipe, ()))
    elif surprise.layers:
        yield Fix(
            message("Leave their inputs as they are"), changes.changed(plan, surprise.layers, changes.full_inputs)
        )
