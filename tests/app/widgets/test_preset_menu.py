from PySide6.QtWidgets import QMenu

from benchvise.app.layers.panel import LayersPanel
from benchvise.app.widgets.preset_menu import fill_preset_menu
from benchvise.core.methods.polish import Polish
from benchvise.core.recipe.editing import set_tuning
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset, preset_names, presets


def entries(menu):
    return [action for group in menu.actions() for action in group.menu().actions() if not action.isSeparator()]


def test_every_preset_is_in_the_menu_once_by_size(qtbot):
    menu = QMenu()
    qtbot.addWidget(menu)
    chosen = []
    fill_preset_menu(menu, chosen.append)
    assert [action.text() for action in menu.actions()] == list(dict.fromkeys(each.group for each in presets()))
    found = entries(menu)
    assert sorted(action.objectName() for action in found) == list(preset_names())
    assert all(len(group.menu().actions()) <= 16 for group in menu.actions())
    by_name = {action.objectName(): action for action in found}
    assert by_name["int4-g128"].text() == "int4-g128\t4.12 bits in compressed layers"
    assert by_name["int4-g128"].toolTip().startswith(load_preset("int4-g128").description)
    assert by_name["int4-g128"].toolTip().endswith("overall, on a Llama of 1.2 billion weights.")
    assert by_name["best-4bit"].text().startswith("best-4bit\t4.25 bits in compressed layers")
    assert by_name["gptq-int4-g128"].text().endswith("bits in compressed layers · calibrates")
    assert "Learns from 128 samples" in by_name["gptq-int4-g128"].toolTip()
    by_name["int4-g128"].trigger()
    assert chosen == ["int4-g128"]


def test_bits_are_those_of_the_open_checkpoint(qtbot, opened):
    menu = QMenu()
    qtbot.addWidget(menu)
    layers = opened.checkpoint.layers
    fill_preset_menu(menu, print, layers=layers)
    assert all(action.toolTip().endswith("overall, on this checkpoint.") for action in entries(menu))
    for preset in presets(layers):
        if preset.recipe.surgery:  # bits of what is left; this checkpoint's config does not count its blocks
            continue
        plan = make_plan(opened.checkpoint, preset.recipe, allow_empty=True)
        rows = plan.treated_rows
        assert preset.bits_per_weight == 8 * sum(r.bytes_after for r in rows) / sum(r.layer.parameters for r in rows)
        assert preset.bits_overall == 8 * plan.bytes_after / sum(layer.parameters for layer in layers)


def test_nothing_can_be_chosen_without_a_checkpoint(qtbot):
    menu = QMenu()
    qtbot.addWidget(menu)
    fill_preset_menu(menu, print, enabled=False)
    assert not any(action.menu().isEnabled() for action in menu.actions())


def test_a_preset_on_selected_layers_brings_its_transforms(qtbot, opened):
    panel = LayersPanel(opened)
    qtbot.addWidget(panel)
    panel._show_checkpoint()
    opened.set_recipe(set_tuning(opened.recipe, (Polish(steps=3),)), "x")
    opened.select((2, 3))
    panel.layer_actions.apply_preset("awq-int4-g128")
    preset = load_preset("awq-int4-g128")
    assert opened.treatment_of(2) == preset.rules[0].treatment
    assert opened.recipe.transforms == preset.transforms
    assert opened.recipe.tuning == (Polish(steps=3),)
    assert opened.undo.undoText() == "Apply awq-int4-g128 to 2 layers"
    panel.layer_actions.apply_preset("awq-int3-g128")
    assert opened.recipe.transforms == preset.transforms
