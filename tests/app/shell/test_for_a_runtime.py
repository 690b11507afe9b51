"""The runtime is part of the document; a run carries on to measuring; sides fold away where a tab needs the room."""

import pytest
from PySide6.QtCore import Qt

from benchvise.app.preflight.live_check import SETTLE_MS
from benchvise.core.protocol.events import Finished
from benchvise.core.protocol.requests import CheckRecipe, Compress, Evaluate, MeasureLatency
from benchvise.core.protocol.results import Checked, Finding, Run
from tests.app.shell.test_main_window import filled, find_nothing, use_preset, window  # noqa: F401 - fixtures


def test_the_runtime_is_asked_after_each_edit_and_the_strip_tells(filled, client, checkpoint, document, qtbot):  # noqa: F811
    use_preset(filled, client, checkpoint, qtbot)
    assert not filled.scoreboard.runtime.isVisible()
    qtbot.wait(SETTLE_MS + 100)
    assert not client.numbers(CheckRecipe), "nobody asked for a runtime"
    document.set_runtime("vllm")
    qtbot.waitUntil(lambda: len(client.numbers(CheckRecipe)) == 1)
    assert client.requests[client.last(CheckRecipe)].runtime == "vllm"
    names = tuple(layer.name for layer in checkpoint.layers[:2])
    found = Finding("lost", "warns", "2 layers are written dense", layers=names)
    client.say(Finished(client.last(CheckRecipe), Checked((found,), "vllm", may_run=True, loads=True)))
    figure = filled.scoreboard.runtime
    assert (figure.title, figure.text) == ("vLLM", "loads · 2 fall back")
    use_preset(filled, client, checkpoint, qtbot, "int4-g128")
    assert figure.text == "—"
    qtbot.waitUntil(lambda: len(client.numbers(CheckRecipe)) == 2)
    client.say(Finished(client.last(CheckRecipe), Checked((), "vllm", may_run=True, loads=False)))
    assert figure.text == "does not load"
    assert filled.session.preferences.runtime == "vllm"


@pytest.mark.parametrize("measures", [True, False])
def test_a_finished_run_shows_its_result_and_is_measured_where_that_is_asked(
    filled,  # noqa: F811
    client,
    checkpoint,
    qtbot,
    measures,
):
    filled.session.preferences.then_measure = measures
    use_preset(filled, client, checkpoint, qtbot)
    filled.commands.action("run").trigger()
    find_nothing(client)
    client.say(Finished(client.last(Compress), Run("r1", checkpoint.path, "int8-channel", 8.0, 8.0, 10, 5, (), 1.0, 1)))
    assert filled.plots.current_title() == "Result"
    asked = [client.requests[number] for number in (*client.numbers(Evaluate), *client.numbers(MeasureLatency))]
    assert [request.source for request in asked] == (["run:r1", "run:r1"] if measures else [])


def test_sides_fold_where_a_tab_needs_the_room_and_stay_as_a_person_leaves_them(filled, qtbot):  # noqa: F811
    layers, treatment = filled.docks.dock("layers"), filled.docks.dock("treatment")

    def open_sides():
        return not layers.isHidden(), not treatment.isHidden()

    assert open_sides() == (True, True)
    filled.plots.show_title("Budget")
    assert open_sides() == (True, False)
    filled.plots.show_title("Compare")
    assert open_sides() == (False, False)
    qtbot.mouseClick(filled.plots.sides["left"], Qt.MouseButton.LeftButton)
    assert open_sides() == (True, False)
    filled.plots.show_title("Histogram")
    assert open_sides() == (True, True)
    filled.plots.show_title("Compare")
    assert open_sides() == (True, False)
