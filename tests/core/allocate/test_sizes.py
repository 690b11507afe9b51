"""Exact bytes of every candidate, in the order in which they were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.engine import answer
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import SizeCandidates
from benchvise.core.protocol.results import CandidateSizes
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment

SAMPLE = str(Path(__file__).parents[3] / "resources" / "sample")
FITS = Treatment(Integer(bits=4, granularity="channel"))
UNFIT = Treatment(Integer(bits=4, group_size=77))


def test_sizes_are_those_of_plans_and_a_layers_own_where_a_treatment_does_not_fit() -> None:
    checkpoint = open_checkpoint(SAMPLE)
    names = tuple(layer.name for layer in checkpoint.layers if layer.kind == "linear")[::-1]
    found = answer(SizeCandidates(SAMPLE, names, (UNFIT, FITS, KEEP)), NullProgress())
    assert isinstance(found, CandidateSizes)
    assert found.nbytes.dtype == np.int64
    planned = {row.layer.name: row.bytes_after for row in make_plan(checkpoint, Recipe((Rule(names, FITS),))).rows()}
    own = [checkpoint.layer(name).nbytes for name in names]
    assert found.nbytes.tolist() == [own, [planned[name] for name in names], own]
    with pytest.raises(CheckpointError, match="nothing"):
        answer(SizeCandidates(SAMPLE, ("nothing",), (FITS,)), NullProgress())
