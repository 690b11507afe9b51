"""The window: puts panels, docks, commands and the engine together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

from PySide6.QtCore import QByteArray, QCoreApplication, QEvent, QRect, QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QMainWindow, QMessageBox, QStackedWidget, QToolBar, QWidget

from benchvise.app.jobs.error_card import CardStack
from benchvise.app.jobs.log_panel import LogPanel
from benchvise.app.jobs.panel import JobsPanel
from benchvise.app.jobs.problems_panel import ProblemsPanel
from benchvise.app.layers.panel import LayersPanel
from benchvise.app.shell.bottom_bar import BottomBar
from benchvise.app.shell.choices import MeasureChoice, RuntimeChoice
from benchvise.app.shell.command_palette import CommandPalette
from benchvise.app.shell.commands.jobs import JobCommands
from benchvise.app.shell.commands.opening import FileCommands, sample_path
from benchvise.app.shell.commands.view import ViewCommands
from benchvise.app.shell.docks import BOTTOM, LEFT, RIGHT, Docks, focus_inside
from benchvise.app.shell.menus import Submenu, fill_menu_bar, make_toolbar
from benchvise.app.shell.notifications import SHOWN_MS, Notices
from benchvise.app.shell.palette_entries import palette_entries
from benchvise.app.shell.plot_tabs import PlotTabs
from benchvise.app.shell.scoreboard import Scoreboard
from benchvise.app.shell.start_page import Choosers, Purpose, StartPage
from benchvise.app.state.session import Session
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.app.treatment.panel import InspectorPanel
from benchvise.app.treatment.recipe_panel import RecipePanel
from benchvise.app.widgets.command import Commands
from benchvise.core.language import tr
from benchvise.core.protocol.budget import Budget
from benchvise.core.protocol.requests import WarmUp

FIRST_SIZE = QSize(1440, 900)
REFRESH_MS = 50
STRIP_HEIGHT = 44


@dataclass(frozen=True)
class WindowState:
    """What is seen of a session: where the window is, the tab in the middle, and the filter of layers."""

    geometry: QRect
    tab: str
    filter: str


class MainWindow(QMainWindow):
    """Composes; what is done is done by the parts."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.setObjectName("benchvise")
        self.setAcceptDrops(True)
        self.setWindowIcon(icon("mdi6.package-variant-closed", current_theme().accent))
        self.commands = Commands(self, session.preferences.shortcut)
        self.palette_popup = CommandPalette(self.commands, self, partial(palette_entries, self))
        self.opening = FileCommands(session, self)
        self.work = JobCommands(
            session,
            self,
            measure_sensitivity=self.measure_sensitivity,
            forecast=self._ask_forecast,
            show_result=self._show_result,
            fit=partial(self.fit, None),
            say=self.say,
        )
        self.viewing = ViewCommands(session, self, self.palette_popup, self.commands)
        self.docks = Docks(self)
        self.cards = CardStack(self)
        self._painted = False
        self._purpose = Purpose()
        self._warm = False
        self._arranged = False
        self._make_panels()
        self._make_commands()
        self._refresh_timer = QTimer(self, singleShot=True, interval=REFRESH_MS)
        self._refresh_timer.timeout.connect(self._refresh)
        self._connect()
        self.resize(FIRST_SIZE)
        self._restore_geometry()
        self._show_checkpoint()
        self._refresh()

    def _make_panels(self) -> None:
        session = self.session
        self.layers = LayersPanel(session.document)
        self.inspector = InspectorPanel(session.document, session.client)
        self.recipe = RecipePanel(session.document)
        self.jobs = JobsPanel(session)
        self.log = LogPanel(session)
        self.problems = ProblemsPanel(session)
        self.scoreboard = Scoreboard(session)
        self.plots = PlotTabs(session)
        choosers = Choosers(self.opening.ask_folder, self.opening.ask_file, sample_path)
        self.start_page = StartPage(session.preferences, choosers, self.begin)
        self._middle = QStackedWidget()
        self._middle.addWidget(self.start_page)
        self._middle.addWidget(self.plots)
        self.setCentralWidget(self._middle)
        self.docks.add("layers", tr("Layers"), self.layers, LEFT)
        self.docks.add("treatment", tr("Treatment"), self.inspector, RIGHT)
        self.docks.add("recipe", tr("Recipe"), self.recipe, RIGHT)
        self.inspector.calibration_wanted.connect(partial(self.docks.show, "recipe"))
        for name, panel in (("jobs", self.jobs), ("log", self.log), ("problems", self.problems)):
            self.docks.add(name, tr(panel.title), panel, BOTTOM)
        self.bottom = BottomBar(session, self.docks, lambda: self.problems.count)
        self.setStatusBar(self.bottom)
        self.notices = Notices(session.jobs, self, self.bottom.say, lambda: session.preferences.choices.notify)

    def _make_commands(self) -> None:
        copy_names = self.layers.layer_actions.copy_names
        self.commands.add(self.opening.commands())
        self.commands.add(self.work.commands())
        self.commands.add(self.viewing.make(filter_layers=self._filter_layers, copy_names=copy_names))
        self.commands.add(self.layers.layer_actions.commands())
        submenus = {
            menu.id: menu
            for menu in (
                Submenu("recent", tr("Open recent"), "mdi6.history", self.opening.fill_recent),
                Submenu("open", tr("Open"), "mdi6.folder-open-outline", self.opening.fill_open),
                Submenu("presets", tr("Preset"), "mdi6.tune-variant", self.opening.fill_presets),
                Submenu("theme", tr("Theme"), "mdi6.theme-light-dark", self.viewing.fill_themes),
                Submenu("language", tr("Language"), "mdi6.translate", self.viewing.fill_languages),
                Submenu("docks", tr("Panels"), "mdi6.dock-window", self.docks.fill_menu),
                Submenu("plots", tr("Plots"), "mdi6.chart-histogram", self.viewing.fill_plots),
            )
        }
        fill_menu_bar(self, self.commands, submenus)
        widgets = {"runtime": RuntimeChoice(self.session), "measure": MeasureChoice(self.session)}
        self.toolbar = make_toolbar(self, self.commands, submenus, widgets)
        self._named = QLabel()
        self._named.setContentsMargins(0, 6, 12, 0)
        self.menuBar().setCornerWidget(self._named)
        self.addToolBarBreak()
        self.strip = QToolBar(tr("Scoreboard"), self)
        self.strip.setObjectName("scoreboard")
        self.strip.setMovable(False)
        self.strip.addWidget(self.scoreboard)
        self.strip.setFixedHeight(STRIP_HEIGHT)
        self.strip.toggleViewAction().setEnabled(False)
        self.addToolBar(self.strip)

    def _connect(self) -> None:
        document, jobs, problems = self.session.document, self.session.jobs, self.session.problems
        document.checkpoint_changed.connect(self._show_checkpoint)
        document.opening_changed.connect(self._show_opening)
        document.plan_changed.connect(self._warm_up)
        for signal in (
            document.checkpoint_changed,
            document.recipe_changed,
            document.plan_changed,
            document.selection_changed,
            document.active_run_changed,
            jobs.added,
            jobs.changed,
            jobs.removed,
        ):
            signal.connect(self._refresh_soon)
        document.undo.indexChanged.connect(self._refresh_soon)
        document.undo.cleanChanged.connect(self._refresh_soon)
        problems.carded.connect(self.cards.show)
        self.cards.wanted.connect(self._carry_out)
        problems.added.connect(self._refresh_soon)
        self.plots.built.connect(self._panel_built)
        self.plots.currentChanged.connect(self._make_room)
        self.plots.side_wanted.connect(self.docks.toggle_side)
        theme_notifier().changed.connect(self.scoreboard.follow_theme)

    def begin(self, path: str, purpose: Purpose) -> None:
        """Open a checkpoint, and do what it is opened for once it is there."""
        self._purpose = purpose
        if purpose.runtime is not None:
            self.session.document.set_runtime(purpose.runtime)
        self.opening.open(path)

    def fit(self, budget: Budget | None) -> None:
        """Share a budget out, None for none yet; what has to be known about the layers is found out first."""
        from benchvise.app.budget.panel import BudgetPanel

        self.plots.show_title(BudgetPanel.title)
        panel = self.plots.panel(BudgetPanel.title)
        assert isinstance(panel, BudgetPanel)
        panel.fit(budget)

    def show_plot(self, number: int) -> None:
        self.plots.show_number(number)

    def plot_titles(self) -> tuple[str, ...]:
        return self.plots.titles()

    def show_dock(self, name: str) -> None:
        self.docks.show(name)

    def edit_setting(self, name: str) -> None:
        """Bring a setting of the selected layers to the front, ready to be edited."""
        self.docks.show("treatment")
        self.inspector.edit_setting(name)

    def show_run(self, run: str) -> None:
        self.session.document.set_active_run(run)
        self._show_result()

    def show_preferences(self, label: str) -> None:
        """Open the preferences, at the field of that label where one is named."""
        from benchvise.app.shell.preferences_dialog import PreferencesDialog

        dialog = PreferencesDialog(self.session, self.commands, self.opening.choose_workspace, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
        dialog.focus_on(label)

    def toggle_below(self) -> None:
        self.docks.toggle_below()

    def quit(self) -> None:
        self.close()

    def keep_look(self) -> WindowState:
        """Store the layout, and say what another window needs to look the same."""
        self._keep_layout()
        return WindowState(self.geometry(), self.plots.current_title(), self.layers.filter_line.text())

    def take_look(self, seen: WindowState) -> None:
        self.setGeometry(seen.geometry)
        self.plots.show_title(seen.tab)
        self.layers.filter_line.setText(seen.filter)

    def retire(self) -> None:
        """Go without a question, and leave the session to another window."""
        self.hide()
        self.deleteLater()
        QCoreApplication.sendPostedEvents(self, QEvent.Type.DeferredDelete.value)

    def next_dock(self) -> None:
        """Move the focus to the next panel, in a circle through docks and the middle."""
        stops: list[QWidget] = [self._middle, *(d for d in self.docks.all() if d.isVisible())]
        stops = [stop for stop in stops if not stop.visibleRegion().isEmpty()]
        focused = self.focusWidget()
        at = next((n for n, stop in enumerate(stops) if focused is not None and stop.isAncestorOf(focused)), -1)
        focus_inside(stops[(at + 1) % len(stops)])

    def reset_layout(self) -> None:
        self.session.preferences.forget_layout()
        self.docks.arrange()
        self._make_room()

    def close_topmost(self) -> None:
        """Esc: the newest card, else the filter, else back to the tree."""
        if self.cards.dismiss_newest():
            return
        self.layers.filter_line.clear()
        self.layers.view.setFocus()

    def say(self, text: str) -> None:
        """A line in the status bar and in the log."""
        self.bottom.say(text, SHOWN_MS)
        self.log.say(text)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            QTimer.singleShot(0, self, self._after_first_paint)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._arranged:
            self.docks.follow(event.oldSize().width())

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self._may_close():
            event.ignore()
            return
        self._keep_layout()
        self.session.client.close()
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and all(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        urls = event.mimeData().urls()
        if urls:
            event.acceptProposedAction()
            self.opening.open(urls[0].toLocalFile())

    def _after_first_paint(self) -> None:
        self.session.client.start()
        self.session.document.refresh_runs()
        self.plots.build_current()

    def _warm_up(self) -> None:
        """Once the first plan is there, let the engine load what looking and running need."""
        if not self._warm and self.session.document.plan is not None:
            self._warm = True
            self.session.client.ask(WarmUp())

    def _may_close(self) -> bool:
        return not self.session.jobs.would_lose or self._lets_jobs_go()

    def _lets_jobs_go(self) -> bool:
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle(tr("A job is running"))
        running = self.session.jobs.running
        box.setText(tr("{x} is not finished.", x=running.title if running is not None else tr("A job")))
        box.setInformativeText(tr("Finished layers are kept; pressing Run on the same recipe takes them up again."))
        stop = box.addButton(tr("Cancel job and close"), QMessageBox.ButtonRole.DestructiveRole)
        keep = box.addButton(tr("Keep working"), QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.setEscapeButton(keep)
        box.exec()
        lets_go = box.clickedButton() is stop
        box.deleteLater()
        return lets_go

    def _show_checkpoint(self) -> None:
        checkpoint = self.session.document.checkpoint
        is_open = checkpoint is not None
        self._middle.setCurrentIndex(1 if is_open else 0)
        self.strip.setVisible(is_open)
        if is_open and not self._arranged:
            self._arranged = True
            self.docks.set_shown(True)
            self.docks.arrange()
            self.docks.restore(self.session.preferences)
            self._make_room()
            self.strip.show()
            self.layers.view.setFocus()
        elif not is_open:
            if self._arranged:
                self.docks.keep(self.session.preferences)
            self._arranged = False
            self.docks.set_shown(False)
        self.docks.dress()
        if checkpoint is not None:
            self.session.preferences.add_recent(checkpoint.path)
            if self._painted:
                self.plots.build_current()
            purpose, self._purpose = self._purpose, Purpose()
            if purpose.budget is not None:
                self.fit(purpose.budget)

    def _make_room(self, _: int = 0) -> None:
        """What a tab does not need at its sides folds away for it."""
        if self._arranged:
            self.docks.make_room(self.plots.current_title(), self.plots.folded())

    def _show_opening(self) -> None:
        self.start_page.show_opening(self.session.document.opening)

    def _refresh_soon(self, *_: object) -> None:
        if not self._refresh_timer.isActive():
            self._refresh_timer.start()

    def _refresh(self) -> None:
        self.commands.refresh()
        document = self.session.document
        name = Path(document.checkpoint.path).name if document.checkpoint is not None else ""
        recipe = f" · {document.recipe_title}" if document.recipe_title else ""
        self.setWindowTitle(f"{name}{recipe}[*] — Benchvise" if name else "Benchvise[*]")
        self.setWindowModified(document.modified)
        state = "" if not document.recipe_title else tr(" · changed") if document.modified else tr(" · saved")
        self._name_corner(f"<b>{escape(name)}</b>{escape(recipe)}{state}" if name else "")
        self.bottom.show_problems()

    def _name_corner(self, text: str) -> None:
        if text != self._named.text():
            self._named.setText(text)
            self._named.adjustSize()
            self.menuBar().setCornerWidget(self._named)  # Qt gives the corner its new size only so
            self._named.show()

    def _carry_out(self, command: str) -> None:
        self.commands.action(command).trigger()

    def _panel_built(self, _: int, panel: QWidget) -> None:
        wanted = getattr(panel, "wanted", None)
        if wanted is not None:
            wanted.connect(self.work.carry_out)

    def _show_result(self) -> None:
        self.plots.show_title("Result")

    def measure_sensitivity(self) -> None:
        from benchvise.app.sensitivity.panel import SensitivityPanel

        self.plots.show_title("Sensitivity")
        panel = self.plots.panel("Sensitivity")
        assert isinstance(panel, SensitivityPanel)
        panel.ask_measurement()

    def _ask_forecast(self) -> None:
        self.scoreboard.ask_forecast()

    def _filter_layers(self) -> None:
        self.docks.dock("layers").show()
        self.layers.focus_filter()

    def _keep_layout(self) -> None:
        self.opening.kept.flush()
        self.session.preferences.keep_layout("geometry", self.saveGeometry())
        if self.session.document.checkpoint is not None:
            self.docks.keep(self.session.preferences)

    def _restore_geometry(self) -> None:
        geometry = self.session.preferences.layout("geometry")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
