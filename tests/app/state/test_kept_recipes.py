"""The recipe of each model is there again when the model is opened, and nobody is asked."""

from dataclasses import replace

import pytest

from benchvise.app.state.kept_recipes import KeptRecipes
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe


@pytest.fixture
def kept(document, tmp_path):
    return KeptRecipes(document, tmp_path / "recipes")


def test_each_model_finds_its_own_recipe(kept, client, document, checkpoint):
    other = replace(checkpoint, path="/models/other")
    client.open(document, checkpoint)
    document.set_recipe(load_preset("int8-channel"), "Preset")
    client.open(document, other)
    assert document.recipe == Recipe()
    document.set_recipe(load_preset("int4-g128"), "Preset")
    client.open(document, checkpoint)
    assert document.recipe == load_preset("int8-channel")
    assert not document.modified
    document.undo.undo()
    assert document.recipe == Recipe()
    client.open(document, other)
    assert document.recipe == load_preset("int4-g128")
    kept.flush()
    assert not kept.file_of(checkpoint.path).exists()


def test_a_broken_file_counts_as_none(kept, client, document, checkpoint):
    file = kept.file_of(checkpoint.path)
    file.parent.mkdir()
    file.write_text("rules: 7")
    client.open(document, checkpoint)
    assert document.recipe == Recipe()


def test_an_edit_is_written_once_it_rests(kept, client, document, checkpoint, qtbot):
    kept._timer.setInterval(30)
    client.open(document, checkpoint)
    document.set_recipe(load_preset("int8-channel"), "Preset")
    assert not kept.file_of(checkpoint.path).exists()
    qtbot.waitUntil(lambda: kept.file_of(checkpoint.path).exists())
