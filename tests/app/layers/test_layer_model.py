import numpy as np
import pytest
from PySide6.QtCore import QModelIndex, Qt

from benchvise.app.layers import columns
from benchvise.app.layers.facts import kl_increases_by_layer
from benchvise.app.layers.model import BAR_ROLE, LOCKED_ROLE, LayerModel, prepare
from benchvise.app.layers.tree import BUCKET, build_tree
from benchvise.app.state.layer_filter import LayerFilter
from benchvise.core.protocol.results import LayerCompressed, SensitivityCell
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import KEEP
from tests.app.fake_engine import layer


@pytest.fixture
def model(qapp, checkpoint):
    made = LayerModel(qapp)
    made.set_layers(prepare(checkpoint.layers))
    return made


def planned(checkpoint, name="int8-channel"):
    from benchvise.core.engine import planned as as_columns

    return as_columns(make_plan(checkpoint, load_preset(name)))


def shown(model, parent=QModelIndex()):  # noqa: B008 - the invalid index is immutable
    names = []
    for row in range(model.rowCount(parent)):
        index = model.index(row, 0, parent)
        if model.layer_index(index) >= 0:
            names.append(model.layers[model.layer_index(index)].name)
        names += shown(model, index)
    return names


def test_model_keeps_qts_rules(model, checkpoint, qtmodeltester):
    qtmodeltester.check(model)
    model.set_filter("q_proj")
    qtmodeltester.check(model)
    model.set_plan(planned(checkpoint), None)
    model.sort(columns.SIZE, Qt.SortOrder.DescendingOrder)
    qtmodeltester.check(model)


def test_every_layer_stands_under_its_block(model, checkpoint):
    assert shown(model) == [layer.name for layer in checkpoint.layers]
    index = model.index_of_layer(2)
    assert [index.data(), index.parent().data(), index.parent().parent().data()] == ["q_proj", "attn", "0"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("q_proj", 3),
        ("Q_PROJ", 3),
        ("*.mlp.*", 3),
        ("re:layers\\.[01]\\.attn", 8),
        ("dtype:bfloat16", 3),
        ("dtype:bf", 3),
        ("shape:64x64", 12),
        ("shape:172x64", 3),
        ("shape:172×64", 3),
        ("role:attention.*", 12),
        ("role:embedding", 1),
        ("layers.1 role:attention.q", 1),
        ("nothing_like_it", 0),
        ("", 19),
    ],
)
def test_filter(model, text, count):
    model.set_filter(text)
    assert model.visible_layers == count
    assert len(shown(model)) == count


def test_filter_by_planned_treatment(model, checkpoint):
    model.set_plan(planned(checkpoint), None)
    model.set_filter("tag:int8*")
    assert model.visible_layers == 15


def test_broken_expression_is_said_and_changes_nothing(model):
    model.set_filter("q_proj")
    with pytest.raises(ValueError, match="Not a valid regular expression"):
        model.set_filter("re:(")
    assert model.visible_layers == 3


def test_columns_show_the_plan(model, checkpoint):
    model.set_plan(planned(checkpoint), None)
    row = model.index_of_layer(2)
    texts = [row.siblingAtColumn(column).data() for column in range(len(columns.COLUMNS))]
    assert texts[columns.TREATMENT] == "int8 channel"
    assert texts[columns.BITS] == "8.50"
    assert texts[columns.SIZE] == "16.4 kB → 4.35 kB"
    assert texts[columns.SHAPE] == "64 × 64"
    folder = row.parent()
    assert folder.siblingAtColumn(columns.SIZE).data() == "65.5 kB → 17.4 kB"
    model.set_compact(True)
    assert row.siblingAtColumn(columns.SIZE).data() == "4.35 kB"


def test_sensitivity_bar_is_full_at_the_greatest(model, checkpoint):
    names = [layer.name for layer in checkpoint.layers]
    cells = [SensitivityCell(names[2], "t", 0.1, key="t"), SensitivityCell(names[3], "t", 0.001, key="t")]
    model.set_sensitivity(kl_increases_by_layer(cells))
    bars = [model.index_of_layer(i).siblingAtColumn(columns.SENSITIVITY).data(BAR_ROLE) for i in (2, 3, 4)]
    assert bars[0] == 1.0
    assert bars[1] == pytest.approx(0.02)  # linear, but never so short that it cannot be seen
    assert bars[2] is None


def test_sensitivity_of_kept_layers_is_none_once_others_are_treated(model, checkpoint):
    names = [layer.name for layer in checkpoint.layers]
    keys = {2: KEEP.key, 3: KEEP.key}
    known = (("int4", 0.1), ("int8", 0.001))
    cells = [SensitivityCell(names[i], "a tag", kl, key=key) for i in (2, 3) for key, kl in known]
    model.set_sensitivity(kl_increases_by_layer(cells), lambda layer: keys[layer])

    def shown_kl():
        return [model.index_of_layer(i).siblingAtColumn(columns.SENSITIVITY).data() for i in (2, 3)]

    assert shown_kl() == ["0.1000", "0.1000"]
    keys[3] = "int8"
    model.set_plan(planned(checkpoint), None)
    assert shown_kl() == ["0", "0.0010"]


def test_sorting_by_size_and_back(model, checkpoint):
    model.sort(columns.SHAPE, Qt.SortOrder.DescendingOrder)
    block = model.index_of_layer(2).parent().parent()
    assert model.index(0, 0, block).data() == "attn"
    model.sort(-1)
    assert shown(model) == [layer.name for layer in checkpoint.layers]


def test_marks_of_changed_layers_reach_their_folders(model, checkpoint):
    changed = np.zeros(len(checkpoint.layers), bool)
    changed[2] = True
    model.set_plan(planned(checkpoint), changed)
    marks = model.facts.changed
    assert marks[model.node(model.index_of_layer(2))]
    assert marks[model.node(model.index_of_layer(2).parent())]
    assert not marks[model.node(model.index_of_layer(3))]


def test_a_tensor_that_is_also_a_folder():
    model = LayerModel()
    model.set_layers(prepare((layer("a"), layer("a.b"), layer("a.b.c"))))
    assert shown(model) == ["a", "a.b", "a.b.c"]


def test_a_crowd_of_siblings_is_put_into_ranges():
    tree = build_tree([layer(f"t{n}") for n in range(3 * BUCKET + 1)])
    assert len(tree.children[0]) == 4
    assert tree.labels[tree.children[0][0]] == f"t0 … t{BUCKET - 1}"


def test_a_hundred_thousand_layers_filter_and_scroll():
    names = [f"model.layers.{n // 1000}.experts.{n % 1000 // 10}.w{n % 10}" for n in range(100_000)]
    layers = tuple(layer(name, "mlp.expert", (8, 8)) for name in names)
    prepared = prepare(layers)
    model = LayerModel()
    model.set_layers(prepared)
    model.set_filter("experts.7. w3")
    assert model.visible_layers == 100
    model.set_filter("")
    block = model.index_of_layer(99_999).parent().parent()
    assert model.rowCount(block) == 100


def test_filter_knows_nothing_of_empty_checkpoints():
    assert LayerFilter(()).mask("dtype:x role:y q").size == 0


def compressed(name, sqnr_db, output_error=None, tag="int4 g128"):
    return LayerCompressed(name, tag, sqnr_db, 0.1, 0, 100, 50, 4.0, 1.0, output_error=output_error)


def test_columns_show_results_and_folders_the_worst_below(model, checkpoint):
    names = [checkpoint.layers[index].name for index in (2, 3, 1)]
    done = (compressed(names[0], 20.06, 0.0123), compressed(names[1], None), compressed(names[2], None, tag="keep"))
    model.set_results({layer.name: layer for layer in done})

    def texts(index):
        return [index.siblingAtColumn(column).data() for column in (columns.SQNR, columns.OUTPUT_ERROR)]

    row = model.index_of_layer(2)
    assert texts(row) == ["20.1", "0.0123"]
    assert texts(model.index_of_layer(3)) == ["exact", ""]
    assert texts(model.index_of_layer(1)) == ["", ""]
    assert texts(row.parent()) == ["20.1", "0.0123"]
    model.set_results({})
    assert texts(row) == ["", ""]


def test_locks_are_marked_on_layers_and_on_folders_of_nothing_else(checkpoint):
    model = LayerModel()
    model.set_layers(prepare(checkpoint.layers))
    names = [layer.name for layer in checkpoint.layers if layer.compressible and layer.depth == 0]
    model.set_locked(names)
    locked = model.index_of_layer([layer.name for layer in checkpoint.layers].index(names[0]))
    assert model.data(locked, LOCKED_ROLE)
    assert "excluded from budgets" in model.data(locked, Qt.ItemDataRole.ToolTipRole)
    assert model.data(locked.parent(), LOCKED_ROLE)
    assert model.data(locked.parent().parent(), LOCKED_ROLE)
    assert not model.data(locked.parent().parent().parent(), LOCKED_ROLE)
    model.set_locked(())
    assert not model.data(locked, LOCKED_ROLE)


def test_bars_follow_what_each_layer_has_and_infinite_kl_increase_is_full(checkpoint):
    model = LayerModel()
    model.set_layers(prepare(checkpoint.layers))
    name = checkpoint.layers[2].name
    cells = [SensitivityCell(name, "", 0.001, key="int8"), SensitivityCell(name, "", np.inf, key="int2")]
    model.set_sensitivity(kl_increases_by_layer(cells), lambda _: "int8")
    index = model.index_of_layer(2).siblingAtColumn(columns.SENSITIVITY)
    assert model.data(index) == "0.0010"
    model.set_sensitivity(kl_increases_by_layer(cells), lambda _: "int2")
    assert model.data(index) == "∞"
    assert model.data(index, BAR_ROLE) == 1.0
