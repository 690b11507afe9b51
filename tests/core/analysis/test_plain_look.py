"""The first look at a layer waits for no torch, and counts as the long way does."""

import subprocess
import sys

import numpy as np
import pytest

from benchvise.core.analysis.look import look
from benchvise.core.engine import answer
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Look
from benchvise.core.recipe.recipe import KEEP, Treatment
from tests.app.plain_document import SAMPLE

LAYER = "model.layers.0.self_attn.q_proj"
MAX_SECONDS = 0.15
COLD = f"""
import sys, time
from benchvise.core.engine import answer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Look, Open
answer(Open({str(SAMPLE)!r}), NullProgress())
begun = time.process_time()
answer(Look({str(SAMPLE)!r}, {LAYER!r}), NullProgress())
print(time.process_time() - begun, "torch" in sys.modules)
"""


def test_the_first_look_is_there_before_torch():
    told = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True).stdout.split()
    assert told[1] == "False"
    assert float(told[0]) <= MAX_SECONDS


@pytest.mark.parametrize("after", [None, KEEP, Treatment(Integer(bits=4, group_size=32))])
def test_it_counts_as_the_long_way_does(after):
    request = Look(str(SAMPLE), LAYER, after=after)
    quick, whole = answer(request, NullProgress()), look(request, NullProgress())
    assert np.array_equal(quick.before.counts, whole.before.counts)
    assert np.array_equal(quick.before.edges, whole.before.edges)
    assert quick.statistics == whole.statistics
    assert quick.statistics_after == whole.statistics_after
