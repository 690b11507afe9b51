"""The presets as cards: exact sizes of the open model, what was measured, a search, and a click that takes one."""

from dataclasses import replace

import pytest

from benchvise.app.shell.preset_gallery import PresetGallery
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.protocol.results import RunSummary
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset, preset_names
from benchvise.core.text import byte_text


@pytest.fixture
def gallery(client, document, checkpoint, qtbot):
    client.open(document, checkpoint)
    run = RunSummary("r", checkpoint.path, "int4-g128", "done", 1, 1, 1, 1.0, 0.0)
    document.finished.summaries = (replace(run, kl_mean=0.015),)
    taken = []
    made = PresetGallery(document, taken.append)
    made.taken = taken
    qtbot.addWidget(made)
    made.show()
    return made


def test_every_preset_has_a_card_with_the_size_of_this_model(gallery, checkpoint):
    assert set(gallery.cards) == set(preset_names())
    exact = make_plan(checkpoint, load_preset("int8-channel")).bytes_after
    assert gallery.cards["int8-channel"].figure.text() == byte_text(exact)
    lines = gallery.cards["int4-g128"].lines.text()
    assert "slight · KL 0.0150, measured" in lines
    assert gallery.cards["int4-g128"].meter.bars == 4


def test_a_surgery_counts_what_it_leaves(client, document, qtbot):
    sample = open_checkpoint("resources/sample")
    client.open(document, sample)
    made = PresetGallery(document, print)
    qtbot.addWidget(made)
    left = make_plan(sample, load_preset("prune-ffn-25")).bytes_after
    assert made.cards["prune-ffn-25"].figure.text() == byte_text(left) != byte_text(sample.nbytes)


def test_search_leaves_what_has_all_words(gallery):
    gallery.search.setText("gptq 3")
    shown = {name for name, card in gallery.cards.items() if card.isVisible()}
    assert "gptq-int3-g128" in shown
    assert "int8-channel" not in shown
    gallery.search.setText("nothing of the kind")
    assert gallery.none.isVisible()
    assert not any(card.isVisible() for card in gallery.cards.values())


def test_a_click_takes_the_preset(gallery):
    gallery.cards["int8-channel"].click()
    assert gallery.taken == ["int8-channel"]
    assert not gallery.isVisible()
