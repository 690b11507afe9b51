"""A treatment's key: equal for equal results, and different for everything that decides values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.recipe.presets import load_preset, preset_names
from benchvise.core.recipe.recipe import KEEP, Treatment, parse_treatment


def test_the_key_is_a_digest_of_the_settings() -> None:
    treatment = Treatment(Integer(bits=3, granularity="channel"), Nearest())
    text = json.dumps(treatment.to_mapping(), sort_keys=True)
    assert treatment.key == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_what_decides_values_is_in_the_key() -> None:
    first = Treatment(Integer(), ErrorFeedback())
    others = [
        replace(first, scheme=Integer(bits=3)),
        replace(first, scheme=Integer(group_size=64)),
        replace(first, solver=ErrorFeedback(damping=0.02)),
        replace(first, solver=Nearest()),
        KEEP,
    ]
    assert len({each.key for each in (first, *others)}) == len(others) + 1


def test_strictness_where_groups_do_not_divide_is_not() -> None:
    assert Treatment(Integer(indivisible="divisor")).key == Treatment(Integer()).key


def test_a_mapping_gives_the_key_back() -> None:
    for name in preset_names():
        for rule in load_preset(name).rules:
            assert parse_treatment(rule.treatment.to_mapping(), name).key == rule.treatment.key
