"""What a run changed, in figures, in words, and what to do about it."""

from dataclasses import replace

import pytest

from benchvise.app.result.figures import change_rows, headline
from benchvise.app.result.panel import WORST, ResultPanel, _better
from benchvise.app.widgets.quality_meter import QualityMeter
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.protocol.results import LayerCompressed, RunSummary
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.text import quality_word

RUN = RunSummary("r1", "/models/tiny", "int4", "2026-01-02T03:04:05", "done", 4.5, 1000, 280, 3.0)
JUDGED = replace(RUN, perplexity_before=10.0, perplexity=11.0, kl_mean=0.015, decode_ms_before=10.0, decode_ms=5.0)


@pytest.mark.parametrize(
    ("kl", "word", "bars"),
    [
        (0.0, "indistinguishable", 5),
        (0.002, "slight", 4),
        (0.05, "noticeable", 3),
        (0.3, "strong", 2),
        (0.5, "broken", 1),
        (float("inf"), "broken", 1),
        (float("nan"), "broken", 1),
    ],
)
def test_quality_in_words_and_bars(qtbot, kl, word, bars):
    meter = QualityMeter()
    qtbot.addWidget(meter)
    meter.show_kl(kl)
    assert quality_word(kl) == word
    assert meter.bars == bars


def test_what_was_not_measured_is_a_dash():
    rows = {row.title: (row.before, row.after, row.change) for row in change_rows(RUN)}
    assert rows["Size"] == ("1.00 kB", "280 B", "28.0 %")
    assert rows["Perplexity"] == ("—", "—", "")
    assert headline(RUN) == "Done, at 28.0 % of the size"


def test_what_was_measured_stands_before_and_after():
    rows = {row.title: (row.before, row.after, row.change) for row in change_rows(JUDGED)}
    assert rows["Perplexity"][2] == "×1.1"
    assert rows["KL divergence"][1:] == ("0.0150", "slight")
    assert rows["Speed"] == ("100 tok/s", "200 tok/s", "×2")
    assert headline(JUDGED) == "Slight loss, at 28.0 % of the size"


def test_the_worst_layers_get_more_bits_as_one_undo_step(qtbot, opened, client, checkpoint):
    document = opened
    panel = ResultPanel(document, client)
    qtbot.addWidget(panel)
    panel.show()
    linears = [index for index, layer in enumerate(checkpoint.layers) if layer.name.endswith("_proj")][:7]
    document.treat(linears, [Treatment(Integer(bits=4))] * len(linears), "Treat")
    results = {
        checkpoint.layers[index].name: LayerCompressed(
            checkpoint.layers[index].name, "int4", 20.0 - place, 0.1, 0, 2, 1, 4.5, 1.0
        )
        for place, index in enumerate(linears)
    }
    document._active.layers = results
    document.finished.summaries = (RUN,)
    document._active.run = "r1"
    panel.refresh()
    assert panel.headline.text() == headline(RUN)
    steps = document.undo.count()
    panel.better.click()
    assert document.undo.count() == steps + 1
    bits = [document.treatment_of(index).scheme.bits for index in linears]
    assert bits == [4] * (len(linears) - WORST) + [5] * WORST


def test_what_has_no_bits_to_give_is_left(qtbot):  # noqa: ARG001 - the module needs an application
    assert _better(Treatment(Integer(bits=8))) is None
    assert _better(Treatment(Sparse())) is None, "stored dense, its number of bits means nothing"
    assert _better(Treatment(Integer(bits=6))).scheme.bits == 8
