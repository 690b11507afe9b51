import subprocess
import sys
from dataclasses import replace

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QMessageBox, QPushButton, QTabBar, QWidget

from benchvise.app.layers.columns import DTYPE, ROLE, SENSITIVITY, SQNR
from benchvise.app.layers.view import DECISION
from benchvise.app.shell.main_window import MainWindow
from benchvise.app.state.decode_conditions import Conditions
from benchvise.app.theme.appearance import apply_theme
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.core.protocol.events import Failed, Finished, Note, Partial, Started, Stopped
from benchvise.core.protocol.requests import (
    CheckRecipe,
    Compress,
    Evaluate,
    Export,
    ForecastLatency,
    MakePlan,
    MakeReport,
    MeasureSensitivity,
    Open,
)
from benchvise.core.protocol.results import Checked, Estimate, LatencyForecast, LayerCompressed, SensitivityCell
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import KEEP
from tests.app.screen import on_screen, painted_anew


def finish(window):
    """Nothing is left that closing would ask about."""
    window.session.document.undo.setClean()
    for job in window.session.jobs:
        window.session.client.say(Stopped(job.number))


@pytest.fixture
def window(qtbot, qapp, session):
    apply_theme(qapp, "light")
    made = MainWindow(session)
    qtbot.addWidget(made, before_close_func=finish)
    made.resize(1280, 800)
    made.show()
    qtbot.waitExposed(made)
    return made


@pytest.fixture
def filled(window, client, document, checkpoint, qtbot):
    client.open(document, checkpoint)
    qtbot.waitUntil(lambda: bool(client.numbers(MakePlan)))
    client.plan(checkpoint)
    qtbot.waitUntil(lambda: bool(document.selection))
    qtbot.wait(120)
    return window


def use_preset(window, client, checkpoint, qtbot, name="int8-channel"):
    asked = len(client.numbers(MakePlan))
    window.opening.use_preset(name)
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) > asked)
    client.plan(checkpoint)
    qtbot.wait(120)


def find_nothing(client):
    """Answer the check that Run asks for: nothing stands in the way."""
    client.say(Finished(client.last(CheckRecipe), Checked((), "", may_run=True, loads=True)))


def test_it_starts_with_the_start_page(window):
    assert window.start_page.isVisible()
    assert not window.docks.dock("layers").isVisible()
    assert not window.commands.action("run").isEnabled()


def test_opening_shows_layers_and_selects_the_first_linear(filled, document):
    assert filled.plots.isVisible()
    assert filled.docks.dock("layers").isVisible()
    assert document.current.name == "model.layers.0.attn.q_proj"
    assert filled.inspector.heading.text() == "model.layers.0.attn.q_proj"
    assert filled.windowTitle().startswith("tiny")


def test_what_can_be_done_follows_the_document(filled, client, checkpoint, qtbot):
    actions = filled.commands.action
    assert not actions("run").isEnabled()
    use_preset(filled, client, checkpoint, qtbot)
    assert actions("run").isEnabled()
    assert actions("undo").text() == "Undo preset int8-channel"
    assert filled.isWindowModified()
    actions("undo").trigger()
    qtbot.waitUntil(lambda: not filled.isWindowModified())


def test_the_title_names_the_recipe_that_an_edit_started_from(filled, client, checkpoint, document, qtbot):
    use_preset(filled, client, checkpoint, qtbot)
    assert filled.windowTitle().startswith("tiny · int8-channel[*]")
    document.treat([0], [KEEP], "Keep 1 layer")
    document.treat([1], [KEEP], "Keep 1 layer")
    qtbot.waitUntil(lambda: filled.windowTitle().startswith("tiny · int8-channel (edited)[*]"))
    for _ in range(3):
        filled.commands.action("undo").trigger()
    qtbot.waitUntil(lambda: filled.windowTitle().startswith("tiny[*]"))


def test_run_asks_for_the_recipe_and_takes_up_what_was_interrupted(filled, client, checkpoint, document, qtbot):
    use_preset(filled, client, checkpoint, qtbot)
    filled.commands.action("run").trigger()
    find_nothing(client)
    request = client.requests[client.last(Compress)]
    assert request == Compress(checkpoint.path, load_preset("int8-channel"), document.workspace, resume=True)


def test_a_run_goes_where_the_preferences_say(filled, session, client, checkpoint, qtbot):
    session.preferences.choose(cluster="10.0.0.1:6379")
    use_preset(filled, client, checkpoint, qtbot)
    filled.commands.action("run").trigger()
    assert client.requests[client.last(CheckRecipe)].cluster == "10.0.0.1:6379"
    find_nothing(client)
    assert client.requests[client.last(Compress)].cluster == "10.0.0.1:6379"


def test_every_command_has_a_place_and_shortcuts_are_unique(window):
    placed = set()
    for menu in window.menuBar().actions():
        placed |= {action.objectName() for action in menu.menu().actions()}
    hidden = {"close-topmost"} | {
        c.id for c in window.commands.all() if c.id.startswith(("plot-", "theme-", "language-"))
    }
    assert {command.id for command in window.commands.all()} - hidden <= placed
    shortcuts = [command.shortcut for command in window.commands.all() if command.shortcut]
    assert len(shortcuts) == len(set(shortcuts))


def test_filter_by_keyboard(filled, qtbot):
    filled.activateWindow()
    filled.commands.action("filter").trigger()
    assert filled.layers.filter_line.hasFocus()
    qtbot.keyClicks(filled.layers.filter_line, "q_proj")
    qtbot.waitUntil(lambda: filled.layers.model.visible_layers == 3)
    filled.close_topmost()
    qtbot.waitUntil(lambda: filled.layers.model.visible_layers == 19)


def test_selecting_a_folder_selects_the_layers_below(filled, document):
    model, view = filled.layers.model, filled.layers.view
    block = model.index_of_layer(2).parent().parent()
    view.setCurrentIndex(block)
    assert len(document.selection) == 6
    assert filled.layers.view.selectionModel().isSelected(block)


def test_select_similar_and_keep_from_the_context_menu(filled, document):
    document.select((2,))
    menu = filled.layers.layer_actions.context_menu(filled)
    similar = menu.actions()[0].menu()
    similar.actions()[0].trigger()
    assert [document.checkpoint.layers[i].role for i in document.selection] == ["attention.q"] * 3
    assert len(filled.layers.view.selectionModel().selectedRows(0)) >= 1
    assert {action.text() for action in menu.actions() if action.text()} >= {"Copy name", "Keep 1 layer as is"}


def test_selection_survives_filter_and_sort(filled, document, qtbot):
    document.select((2, 3))
    filled.layers.filter_line.setText("attn")
    qtbot.wait(200)
    filled.layers.view.header().setSortIndicator(0, Qt.SortOrder.DescendingOrder)
    assert document.selection == (2, 3)


def test_dropping_a_folder_opens_it(window, client, tmp_path):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path))])
    copy = Qt.DropAction.CopyAction
    event = QDropEvent(QPointF(9, 9), copy, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    window.dropEvent(event)
    assert client.requests[client.last(Open)] == Open(str(tmp_path))


def test_a_failed_opening_is_a_card_and_the_page_stays(window, client):
    window.opening.open("/nowhere")
    assert "Opening" in window.start_page.said.text()
    client.say(Failed(client.last(Open), "There is nothing at this path", "/nowhere", "Check the path."))
    assert window.cards.cards[0].problem.what == "There is nothing at this path"
    assert window.start_page.sample_button.isEnabled()
    window.close_topmost()
    assert window.cards.cards == []


def test_the_remedy_of_a_killed_run_is_a_button(filled, client, checkpoint, qtbot):
    use_preset(filled, client, checkpoint, qtbot)
    filled.commands.action("run").trigger()
    find_nothing(client)
    client.say(
        Failed(
            client.last(Compress),
            "The engine stopped (signal 9)",
            "/models/tiny",
            "Press Run to resume.",
            resumable=True,
        )
    )
    card = filled.cards.cards[0]
    next(button for button in card.findChildren(QPushButton) if button.text() == "Run").click()
    find_nothing(client)
    assert len(client.numbers(Compress)) == 2
    assert filled.cards.cards == []


def test_forecast_is_marked_until_measured(filled, client, checkpoint, qtbot):
    board = filled.scoreboard
    assert not board.bytes.measured
    use_preset(filled, client, checkpoint, qtbot)
    for exact, part in ((board.bytes, "→"), (board.bits, "compressed")):
        assert part in exact.text
        assert "≈" not in exact.text
        assert not exact.measured
    assert "≈" not in filled.inspector.forecast.text()
    board.ask_forecast()
    number = client.last(ForecastLatency)
    client.say(Started(number))
    client.say(Finished(number, LatencyForecast("CPU", Estimate(4.0, 3.9, 4.2), Estimate(2.0, 1.9, 2.5), 200, 100)))
    assert board.decode.text == "≈500 tok/s ×2.00"
    assert "400 to 526 tok/s on CPU" in board.decode.toolTip()
    filled.commands.action("undo").trigger()
    assert board.decode.text == "—"


def test_a_forecast_for_another_machine_names_it(filled, client, checkpoint, qtbot):
    use_preset(filled, client, checkpoint, qtbot)
    board = filled.scoreboard
    board.forecast_menu.choose(Conditions(4, 64, "/profiles/laptop.json", "Laptop"))
    number = client.last(ForecastLatency)
    asked = client.requests[number]
    assert (asked.batch, asked.context, asked.prompt, asked.profile) == (4, 64, 64, "/profiles/laptop.json")
    after, first = Estimate(2.0, 1.6, 2.5), Estimate(30.0, 20.0, 40.0)
    client.say(Started(number))
    client.say(
        Finished(number, LatencyForecast("Laptop", Estimate(4, 3, 5), after, 9, 8, (), 4, 64, 64, first, first, True))
    )
    assert board.decode.title == "Decode · Laptop, 4 × 64"
    assert board.decode.text == "≈2000 tok/s ×2.00"
    told = board.decode.toolTip()
    assert "1600 to 2500 tok/s on Laptop (another machine), for 4 sequences side by side after 64 tokens" in told
    assert "Reading 64 tokens of each: ≈30 ms" in told
    board.forecast_menu.choose(Conditions())
    assert (board.decode.title, board.decode.text) == ("Decode", "—")


def test_measure_sensitivity_shows_its_tab(filled, client):
    filled.commands.action("sensitivity").trigger()
    assert filled.plots.current_title() == "Sensitivity"
    assert client.numbers(MeasureSensitivity)


def test_jobs_on_a_run(filled, client, document, tmp_path):
    document.set_active_run("r1")
    filled.work.ask_evaluation("/t.txt")
    asked = client.requests[client.last(Evaluate)]
    assert (asked.source, asked.text, asked.against) == ("run:r1", "/t.txt", "/models/tiny")
    filled.work.ask_export("dense", str(tmp_path / "out"))
    assert client.requests[client.last(Export)].run == "run:r1"
    filled.work.ask_report(str(tmp_path / "card.md"))
    asked = client.requests[client.last(MakeReport)]
    assert (asked.run, asked.form, asked.out) == ("run:r1", "markdown", str(tmp_path / "card.md"))


@pytest.mark.parametrize(("answer", "closed"), [("Keep working", False), ("Cancel job and close", True)])
def test_closing_while_a_job_runs_asks(filled, client, document, monkeypatch, answer, closed):
    number = client.ask(Compress("/models/tiny", document.recipe))
    client.say(Started(number))

    def press(box):
        button = next(button for button in box.buttons() if button.text() == answer)
        monkeypatch.setattr(box, "clickedButton", lambda: button, raising=False)

    monkeypatch.setattr(QMessageBox, "exec", press)
    assert filled.close() is closed
    assert client.closed is closed


def test_layout_is_remembered(filled, session, qtbot):
    filled.docks.dock("log").setFloating(True)
    filled.close()
    again = MainWindow(session)
    qtbot.addWidget(again)
    again.show()
    assert again.docks.dock("log").isFloating()
    again.reset_layout()
    assert not again.docks.dock("log").isFloating()


def test_resetting_the_layout_leaves_no_tab_bars_behind(filled, qtbot):
    def visible():
        return sorted(bar.count() for bar in filled.findChildren(QTabBar) if bar.isVisible())

    before = visible()
    filled.resize(1440, 900)
    filled.docks.dock("log").setFloating(True)
    for _ in range(3):
        filled.reset_layout()
        assert visible() == before
    qtbot.wait(20)
    assert visible() == before
    assert on_screen(filled.layers) == painted_anew(filled.layers)


def test_f6_goes_round(filled):
    filled.activateWindow()
    filled.layers.view.setFocus()
    seen = []
    filled.docks.open_below("jobs")
    for _ in range(4):
        filled.next_dock()
        focused = filled.focusWidget()
        docks = [filled.docks.dock(name) for name in ("layers", "treatment", "jobs")]
        parents = [dock for dock in docks if dock.isAncestorOf(focused)]
        seen.append(parents[0].objectName() if parents else "middle")
    assert len(set(seen)) == 4


def test_theme_changes_everything(filled, qapp):
    filled.commands.action("theme-dark").trigger()
    assert current_theme().name == "dark"
    assert qapp.palette().window().color().lightness() < 60
    assert filled.session.preferences.choices.theme == "dark"
    filled.commands.action("theme-light").trigger()
    theme_notifier().choose("light")


def test_every_plot_fits_beside_its_neighbours(filled, qtbot):
    """At 1280 pixels, with the layers' columns of the decision and the treatment form whole."""
    for number in range(len(filled.plot_titles())):
        filled.show_plot(number)
        qtbot.wait(20)
        assert filled.plots.widget(number).minimumSizeHint().width() <= 620, filled.plot_titles()[number]
    assert filled.width() == 1280


@pytest.mark.parametrize("size", [(1280, 800), (2560, 1440)])
def test_nothing_is_cut(filled, qtbot, size):
    filled.resize(*size)
    filled.docks.share_out()
    qtbot.wait(50)
    assert (filled.width(), filled.height()) == size
    inside = filled.inspector.findChild(QWidget, "qt_scrollarea_viewport")
    for widget in inside.findChildren(QWidget):
        if widget.isVisible() and widget.parentWidget() is not None:
            right = widget.mapTo(inside, widget.rect().topRight()).x()
            assert right <= inside.width(), widget
    needed = filled.toolbar.sizeHint().width()
    assert needed <= size[0]
    assert filled.scoreboard.minimumSizeHint().width() <= size[0]


def test_the_window_is_there_without_torch():
    code = (
        "import sys\n"
        "from benchvise.app.shell.start import *\n"
        "app = make_application(); apply_theme(app, 'light'); window = MainWindow(make_session(Preferences()))\n"
        "window.show(); app.processEvents()\n"
        "print(window.isVisible(), 'torch' in sys.modules, 'pyqtgraph' in sys.modules)\n"
        "window.session.client.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False", "False"]


def test_nothing_is_forecast_and_no_problem_made_while_nothing_is_treated(filled, client):
    filled.scoreboard._forecast_unasked()
    filled.scoreboard.ask_forecast()
    assert not client.numbers(ForecastLatency)
    assert not filled.scoreboard.forecast_button.isEnabled()
    assert not filled.commands.action("forecast").isEnabled()


@pytest.mark.parametrize("asked", [False, True])
def test_only_a_forecast_that_was_asked_for_makes_a_problem(filled, client, checkpoint, qtbot, asked):
    use_preset(filled, client, checkpoint, qtbot)
    board = filled.scoreboard
    board.ask_forecast() if asked else board._forecast_unasked()
    client.say(Failed(client.last(ForecastLatency), "No kernel fits", "q_proj", "Choose another scheme."))
    assert filled.session.problems.count == len(filled.cards.cards) == int(asked)
    assert "No kernel fits" in board.decode.toolTip()


def test_long_texts_do_not_widen_the_window(filled, client, document, qtbot):
    long = "a" * 2000
    recipe = replace(load_preset("int8-channel"), name=long)
    document.set_recipe(recipe, "Load")
    number = client.ask(Compress(f"/models/{long}", recipe))
    client.say(Started(number))
    client.say(Note(number, long))
    filled.layers.filter_line.setText("re:(" + long)
    filled.say(long)
    document.set_active_run(long)
    for tab in range(len(filled.plot_titles())):
        filled.show_plot(tab)
        qtbot.wait(150)
        assert filled.minimumSizeHint().width() < 1200, filled.plot_titles()[tab]
        assert filled.width() == 1280
        assert filled.docks.dock("layers").width() >= 256


def test_a_narrow_dock_that_was_remembered_is_widened(filled, session, qtbot):
    filled.layers.setMinimumWidth(0)
    filled.resizeDocks([filled.docks.dock("layers")], [120], Qt.Orientation.Horizontal)
    qtbot.wait(20)
    assert filled.docks.dock("layers").width() < 200
    filled.docks.keep(session.preferences)
    again = MainWindow(session)
    qtbot.addWidget(again, before_close_func=finish)
    again.resize(1280, 800)
    again.show()
    qtbot.wait(50)
    assert again.docks.restore(session.preferences)
    qtbot.wait(50)
    assert again.docks.dock("layers").width() >= 256


@pytest.mark.parametrize(("width", "shown"), [(1024, 2), (1280, 3), (1440, 3), (1920, 4), (2560, 4)])
def test_the_default_columns_fit(filled, qtbot, width, shown):
    """They go in the order size, KL, bits where the room is short, and names keep what they need."""
    filled.resize(width, 900)
    filled.docks.arrange()
    view = filled.layers.view
    qtbot.waitUntil(lambda: [not view.isColumnHidden(column) for column in DECISION].count(True) == shown)
    assert not any(view.isColumnHidden(column) for column in DECISION[:shown])
    qtbot.waitUntil(lambda: not view.horizontalScrollBar().isVisible())
    assert view.isColumnHidden(ROLE)
    qtbot.waitUntil(lambda: view.header().length() <= view.viewport().width())
    row = view.rowHeight(view.model().index(0, 0))
    qtbot.waitUntil(lambda: view.viewport().height() % row == 0)


def test_results_come_before_sensitivity_that_was_not_measured(filled, document, client, qtbot):
    filled.resize(1920, 1080)
    filled.docks.arrange()
    view, layer = filled.layers.view, document.checkpoint.layers[2]
    assert view.isColumnHidden(SQNR)
    run = client.ask(Compress(document.checkpoint.path, document.recipe))
    client.say(Partial(run, LayerCompressed(layer.name, "int8 channel", 40.0, 0.1, 0, 2, 1, 8.0, 1.0)))
    qtbot.waitUntil(lambda: not view.isColumnHidden(SQNR))
    number = client.ask(MeasureSensitivity(document.checkpoint.path, "", ()))
    client.say(Partial(number, SensitivityCell(layer.name, "int8 channel", 0.1, key="int8")))
    qtbot.waitUntil(lambda: not view.isColumnHidden(SENSITIVITY))


def test_columns_are_shown_and_hidden_by_the_headers_menu(filled):
    view = filled.layers.view
    entry = next(action for action in view.header_menu().actions() if action.text() == "Dtype")
    assert not entry.isChecked()
    entry.trigger()
    filled.resize(1300, 800)
    assert not view.isColumnHidden(DTYPE)


def test_what_is_opened_has_a_plain_path(window, client, tmp_path):
    window.opening.open(str(tmp_path / "a" / ".." / "b"))
    assert client.requests[client.last(Open)] == Open(str(tmp_path / "b"))
