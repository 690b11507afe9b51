"""The window in every language: nothing untranslated, nothing cut, and changed while it runs."""

import re

import pytest
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QMenu, QStyle, QStyleOptionComboBox, QTabBar

from benchvise.app.shell.window_keeper import WindowKeeper
from benchvise.app.theme.appearance import apply_theme
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core import language
from benchvise.core.language import Message, capital, counted, message, nearest_language, tr, use_language
from benchvise.core.protocol.requests import MakePlan
from benchvise.core.text import plural
from tests.app.shell.test_main_window import finish

CHINESE = re.compile(r"[\u3000-\u9fff\uff00-\uffef]")
LATIN = re.compile(r"[A-Za-z]{3,}")
SAME = re.compile(
    r"Benchvise|tiny|model|layers?|proj|embed|head|norm|attn|float|LlamaFor\w+|vLLM|llama\.cpp|Ollama|LM Studio|"
    r"transformers|ONNX Runtime|OpenVINO|MLX|int\d|dtype|shape|Ctrl|Shift|SQNR|tok/s|Windows|re:|role|tag|English|"
    r"KL|YAML|PNG|SVG|CSV|safetensors|Hugging Face|GGUF|bin|GPTQ|AWQ|HQQ|token|q/k/v|gate|nat|mlp|self|glob|jsonl|"
    r"txt|Del|channel|asked|bfloat|RuntimeError|AutoRound|sigmoid|group|GB|preset|attention|Esc|Enter|MXFP\d|NVFP\d"
)


@pytest.fixture(autouse=True)
def english_afterwards():
    yield
    use_language("en")


@pytest.fixture
def keeper(qtbot, qapp, session, request):
    apply_theme(qapp, "light")
    session.preferences.choose(language=getattr(request, "param", "en"))
    made = WindowKeeper(session)
    made.window.resize(1280, 800)
    made.window.show()
    qtbot.waitExposed(made.window)
    yield made
    finish(made.window)
    made.window.close()
    made.window.deleteLater()


def fill(client, document, checkpoint, qtbot):
    client.open(document, checkpoint)
    qtbot.waitUntil(lambda: bool(client.numbers(MakePlan)))
    client.plan(checkpoint)
    qtbot.waitUntil(lambda: bool(document.selection))
    qtbot.wait(80)


def texts_of(window):
    """(widget, text) of everything that can be read."""
    for menu in window.findChildren(QMenu):
        menu.aboutToShow.emit()
        yield from ((menu, action.text().partition("\t")[0]) for action in menu.actions())
    for kind in (QLabel, QAbstractButton):
        yield from ((widget, widget.text()) for widget in window.findChildren(kind))
    for box in window.findChildren(QComboBox):
        yield from ((box, box.itemText(row)) for row in range(box.count()))
    for bar in window.findChildren(QTabBar):
        yield from ((bar, bar.tabText(number)) for number in range(bar.count()))
    for action in window.actions():
        yield window, action.text()
        yield window, action.toolTip()


def is_cut(widget):
    if isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        part = QStyle.SubControl.SC_ComboBoxEditField
        room = widget.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, widget).width()
        return widget.fontMetrics().horizontalAdvance(widget.currentText()) > room
    if isinstance(widget, QLabel) and widget.wordWrap():
        return widget.heightForWidth(widget.width()) > widget.height()
    return bool(widget.text()) and widget.sizeHint().width() > widget.width() + 1


def seen_widgets(window):
    for widget in (found for kind in (QLabel, QAbstractButton, QComboBox) for found in window.findChildren(kind)):
        if widget.isVisibleTo(window) and not widget.visibleRegion().isEmpty() and not isinstance(widget, ElidedLabel):
            yield widget


@pytest.mark.parametrize("keeper", ["zh_CN"], indirect=True)
def test_all_that_can_be_read_is_chinese(keeper, client, document, checkpoint, qtbot):
    fill(client, document, checkpoint, qtbot)
    for number in range(keeper.window.plots.count()):
        keeper.window.plots.show_number(number)
    left = {
        text
        for _, text in texts_of(keeper.window)
        if not CHINESE.search(text) and LATIN.search(SAME.sub("", re.sub(r"<[^>]*>", "", text)))
    }
    assert not left


@pytest.mark.parametrize("keeper", ["en", "zh_CN"], indirect=True)
def test_nothing_is_cut_on_a_small_screen(keeper, client, document, checkpoint, qtbot, monkeypatch):
    """Where no font with Chinese letters is installed, a W stands for each: it is as wide."""
    window = keeper.window
    if language.language() != "en":
        spoken = language._PLACE.catalogue
        wide = {key: tuple(CHINESE.sub("W", form) for form in forms) for key, forms in spoken.texts.items()}
        monkeypatch.setattr(spoken, "texts", wide)
        keeper.renew()
        window = keeper.window
    window.resize(1280, 800)
    fill(client, document, checkpoint, qtbot)
    cut = set()
    for number in range(window.plots.count()):
        window.plots.show_number(number)
        qtbot.wait(20)
        cut |= {
            (number, type(widget).__name__, text)
            for widget in seen_widgets(window)
            if is_cut(widget) and (text := widget.currentText() if isinstance(widget, QComboBox) else widget.text())
        }
    assert (window.width(), window.height()) == (1280, 800)
    assert not cut


def test_the_language_is_changed_while_the_window_runs(keeper, client, document, checkpoint, qtbot):
    fill(client, document, checkpoint, qtbot)
    before = keeper.window
    before.plots.show_title("Overview")
    before.layers.filter_line.setText("q_proj")
    before.viewing.choose_language("zh_CN")
    qtbot.waitUntil(lambda: keeper.window is not before)
    now = keeper.window
    qtbot.wait(80)
    assert now.menuBar().actions()[0].text() == "文件"
    assert now.commands.action("run").text() == "运行"
    assert now.plots.current_title() == "Overview"
    assert now.layers.filter_line.text() == "q_proj"
    assert document.checkpoint == checkpoint
    document.select([0])
    now.opening.use_preset("int8-channel")
    now.viewing.choose_language("en")
    qtbot.waitUntil(lambda: keeper.window is not now)
    assert keeper.window.menuBar().actions()[0].text() == "File"
    assert document.undo.count() == 1


def test_a_message_from_the_engine_is_said_again():
    said = message("{layers} would become larger", layers=plural(3, "layer"))
    assert isinstance(said, Message)
    assert said == "3 layers would become larger"
    assert capital(message("an embedding is looked up, not multiplied")).startswith("An embedding")
    use_language("zh_CN")
    assert tr(said) == "3 层会变大"
    assert tr("An embedding is looked up, not multiplied") == "嵌入是查表，不做乘法"
    assert tr("no such text, {name}", name="q_proj") == "no such text, q_proj"


def test_numbers_have_their_plural_forms():
    assert [plural(count, "layer") for count in (0, 1, 12000)] == ["0 layers", "1 layer", "12,000 layers"]
    use_language("zh_CN")
    assert [plural(count, "layer") for count in (0, 1, 12000)] == ["0 层", "1 层", "12,000 层"]
    assert counted(2, "{count} warning", "{count} warnings") == "2 条警告"


def test_the_language_of_the_system_is_found():
    assert nearest_language(["zh-Hans-CN", "en"]) == "zh_CN"
    assert nearest_language(["de-DE", "zh_CN"]) == "zh_CN"
    assert nearest_language(["fr"]) == "en"
