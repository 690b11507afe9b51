"""Whether there is calibration text, and enough of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from benchvise.core.preflight import changes
from benchvise.core.preflight.facts import Facts, Surprise
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.editing import set_transforms
from benchvise.core.recipe.plan import Plan

Level = Literal["warns", "tells", "blocks"]

MAX_WINDOWS_SHORT = 0.5
"""A text that fills no more than this share of the windows is worth a warning of its own."""


def text_findings(plan: Plan, facts: Facts) -> Iterator[Finding]:
    """What becomes of the calibration text, where anything reads it."""
    asked, found = plan.calibration, facts.text
    if asked is None or found is None:
        return
    nearest = Fix("Use nearest rounding, which needs no text", changes.without_text(plan.recipe))
    shipped = (Fix("Use the shipped text", changes.with_text(plan.recipe, "")),) if asked.text else ()
    if found.refusal is not None:
        refusal = found.refusal
        where = f"{refusal.where}. " if refusal.where else ""
        yield Finding("calibration", "blocks", refusal.what, f"{where}{refusal.remedy}", fixes=(*shipped, nearest))
        return
    for note in found.notes:
        short = found.windows < asked.windows and "fills only" in note
        fewer = Fix(f"Use {found.windows} windows", changes.with_windows(plan.recipe, found.windows))
        shorter = Fix(
            f"Use windows of {found.window_tokens} tokens", changes.with_window_tokens(plan.recipe, found.window_tokens)
        )
        level: Level = "warns" if short and found.windows <= MAX_WINDOWS_SHORT * asked.windows else "tells"
        fixes = (fewer, *shipped) if short else (shorter,)
        title = f"{found.windows} of {asked.windows} calibration windows" if short else "Shorter calibration windows"
        yield Finding("calibration", level, title, f"{note.rstrip('.')}.", fixes=fixes)
    if not found.notes:
        tokens = found.windows * found.window_tokens
        title = f"Calibration: {found.windows:,} windows of {found.window_tokens:,} tokens"
        yield Finding("calibration", "fine", title, f"{tokens:,} tokens from {asked.text or 'the shipped text'}.")


def surprise_findings(plan: Plan, facts: Facts) -> Iterator[Finding]:
    """What the run will say when it comes to it."""
    for surprise in facts.surprises:
        level: Level = "blocks" if surprise.refuses else "tells"
        yield Finding(
            surprise.kind, level, surprise.title, surprise.detail, surprise.layers, tuple(_without(plan, surprise))
        )


def _without(plan: Plan, surprise: Surprise) -> Iterator[Fix]:
    if surprise.kind == "transform" and surprise.refuses:
        yield Fix("Leave transforms out", set_transforms(plan.recipe, ()))
    elif surprise.layers:
        yield Fix("Leave their inputs as they are", changes.changed(plan, surprise.layers, changes.full_inputs))
