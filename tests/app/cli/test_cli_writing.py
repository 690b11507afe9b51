"""How numbers, tables, JSON and treatments are written."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchvise.app.cli.strict_json import fields_of, to_json
from benchvise.app.cli.table import number, pairs, table, text, width_of
from benchvise.app.cli.treatment_words import parse_treatment_words
from benchvise.core.errors import RecipeError
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Treatment


@dataclass(frozen=True)
class Record:
    name: str
    value: float
    values: tuple[float, ...]


def test_json_is_strict() -> None:
    data = {
        "record": Record("a", math.nan, (1.5, math.inf)),
        "array": np.array([[1.0, -np.inf]], np.float32),
        "counts": np.arange(3),
        "scalar": np.float32(0.5),
        "truth": np.bool_(True),
        "path": Path("/tmp/x"),
        "none": None,
    }
    assert json.loads(to_json(data)) == {
        "record": {"name": "a", "value": None, "values": [1.5, None]},
        "array": [[1.0, None]],
        "counts": [0, 1, 2],
        "scalar": 0.5,
        "truth": True,
        "path": "/tmp/x",
        "none": None,
    }
    with pytest.raises(TypeError):
        to_json({"set": {1}})
    with pytest.raises(TypeError):
        fields_of({"a": 1})


def test_json_survives_names_that_are_no_unicode() -> None:
    assert json.loads(to_json({"name": "a\udcff"}))["name"] == "a\udcff"


def test_tables_align_words_left_and_numbers_right() -> None:
    lines = list(table((text("layer"), number("size", "B")), [("a", "1"), ("longer name", "1,000"), ("宽", "22")]))
    assert lines == ["layer        size [B]", "a                   1", "longer name     1,000", "宽                 22"]
    assert list(table((text("a"),), [])) == ["a"]
    assert list(pairs([("a", "1"), ("long", "2")])) == ["a     1", "long  2"]
    assert (width_of("abc"), width_of("宽x"), width_of("e\u0301")) == (3, 3, 1)


@pytest.mark.parametrize(
    ("words", "treatment"),
    [
        ("int4 g128", Treatment(Integer(4, indivisible="divisor"))),
        (
            "int4-g128-asym-clip",
            Treatment(Integer(4, symmetric=False, indivisible="divisor"), Nearest(clip_search=True)),
        ),
        ("int3 g64 clip", Treatment(Integer(3, group_size=64, indivisible="divisor"), Nearest(clip_search=True))),
        (
            "int3-g64-clip-40-steps-to-0.55",
            Treatment(Integer(3, group_size=64, indivisible="divisor"), Nearest(True, 40, 0.55)),
        ),
        ("int8 channel clip to 0.5", Treatment(Integer(8, granularity="channel"), Nearest(True, clip_least=0.5))),
        ("int8 channel", Treatment(Integer(8, granularity="channel"))),
        ("int8-channel", Treatment(Integer(8, granularity="channel"))),
        ("int2 tensor asym", Treatment(Integer(2, symmetric=False, granularity="tensor"))),
        ("50 % zeros", Treatment(Sparse())),
        ("12.5% zeros global", Treatment(Sparse(fraction=0.125, scope="global"))),
        ("28.7 % zeros", Treatment(Sparse(fraction=0.287))),
        ("|w|≤1e-05 → 0", Treatment(Sparse(criterion="threshold", threshold=1e-5))),
        ("|w|<=0.5", Treatment(Sparse(criterion="threshold", threshold=0.5))),
        ("keep", Treatment(Keep())),
        ("magnitude-50", load_preset("magnitude-50").rules[0].treatment),
        ("{scheme: {method: integer, bits: 5, granularity: tensor}}", Treatment(Integer(5, granularity="tensor"))),
    ],
)
def test_treatments_in_words(words: str, treatment: Treatment) -> None:
    parsed = parse_treatment_words(words)
    assert parsed == treatment
    assert parse_treatment_words(parsed.tag) in (parsed, Treatment(parsed.scheme, parsed.solver))


def test_a_treatment_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(
        "scheme: {method: integer, bits: 6, granularity: channel}\nsolver: {method: nearest, clip_search: true}\n"
    )
    assert parse_treatment_words(str(file)).tag == "int6 channel clip"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("int4 g128 klip", "names no treatment"),
        ("int4 g128 clip 40", "names no treatment"),
        ("int4 g128 clip 1 steps", "below its least value 2"),
        ("int4 g128 clip to 1.5", "above its greatest value"),
        ("|w|≤1.2.3", "names no treatment"),
        ("int9 channel", "above its greatest value 8"),
        ("int4 g1", "below its least value 2"),
        ("150 % zeros", "above its greatest value 1"),
        ("1.2.3 % zeros", "names no treatment"),
        ("int4-mlp-int8-attention", "holds 2 treatments"),
        ("{scheme: [}", "not valid YAML"),
        ("{bits: 3}", "The scheme must be a mapping"),
        ("missing.yaml", "cannot be read"),
    ],
)
def test_words_that_are_no_treatment(words: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_treatment_words(words)
    assert says in caught.value.what
    assert caught.value.remedy
