"""The menu in which the conditions of decode forecasts are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QActionGroup
from PySide6.QtWidgets import QFileDialog, QInputDialog, QMenu, QWidget

from benchvise.app.state.decode_conditions import Conditions
from benchvise.app.state.document import Document
from benchvise.app.state.problems import Problem
from benchvise.core.errors import UserError
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import MachineProfile
from benchvise.core.workspace.machine_profiles import keep_profile, kept_profiles, load_profile

BATCHES = (1, 4, 16, 64)
CONTEXTS = (32, 512, 2048, 8192)
THIS_MACHINE = message("This machine")
OTHER = message("Other …")
MOST = 1 << 20
"""Sequences or tokens that can be asked for."""


class ForecastMenu(QMenu):
    """The document's conditions, and what else there is to choose each time it opens. failed: a `Problem`."""

    failed = Signal(object)

    def __init__(self, document: Document, parent: QWidget) -> None:
        super().__init__(parent)
        self._document = document
        self._batches, self._contexts, self._machines = QMenu(self), QMenu(self), QMenu(self)
        for part in (self._batches, self._contexts, self._machines):
            part.setToolTipsVisible(True)
            self.addMenu(part)
        self.aboutToShow.connect(self.fill)

    @property
    def conditions(self) -> Conditions:
        return self._document.conditions

    def fill(self) -> None:
        """Offer what there is now."""
        now = self.conditions
        self._batches.setTitle(tr("Sequences side by side: {batch:,}", batch=now.batch))
        self._contexts.setTitle(tr("Tokens of context: {context:,}", context=now.context))
        self._machines.setTitle(tr("Machine: {machine}", machine=now.machine or tr(THIS_MACHINE).lower()))
        limit = _positions(self._document) or MOST
        contexts = tuple(each for each in CONTEXTS if each < limit)
        self._numbers(self._batches, BATCHES, now.batch, self._choose_batch, MOST)
        self._numbers(self._contexts, contexts, now.context, self._choose_context, limit - 1)
        menu = self._machines
        menu.clear()
        group = QActionGroup(menu)
        here = menu.addAction(tr(THIS_MACHINE), lambda: self.choose(replace(self.conditions, profile="", machine="")))
        here.setCheckable(True)
        here.setChecked(not self.conditions.profile)
        group.addAction(here)
        for profile in kept_profiles(self._document.workspace):
            action = menu.addAction(profile.machine, partial(self._choose_profile, profile))
            action.setToolTip(tr("{key}\nMeasured {created}", key=profile.key, created=profile.created))
            action.setCheckable(True)
            action.setChecked(self.conditions.profile == profile.file)
            group.addAction(action)
        menu.addSeparator()
        menu.addAction(tr("Load profile …"), self.ask_for_profile)

    def choose(self, conditions: Conditions) -> None:
        """Forecast under these conditions from now on."""
        self._document.set_conditions(conditions)

    def ask_for_profile(self) -> None:
        """Let the person point to a file that another machine's `benchvise profile` wrote."""
        name, _ = QFileDialog.getOpenFileName(
            self.parentWidget(),
            tr("Load the profile of another machine"),
            "",
            tr("Machine profiles (*.json);;All files (*)"),
        )
        if name:
            self.load(Path(name))

    def load(self, path: Path) -> None:
        """Keep the profile in the workspace and forecast for its machine."""
        try:
            self._choose_profile(keep_profile(load_profile(path), self._document.workspace))
        except UserError as error:
            self.failed.emit(Problem(error.what, error.where, error.remedy, during=tr("Load profile")))

    def _choose_profile(self, profile: MachineProfile) -> None:
        self.choose(replace(self.conditions, profile=profile.file, machine=profile.machine))

    def _choose_batch(self, batch: int) -> None:
        self.choose(replace(self.conditions, batch=batch))

    def _choose_context(self, context: int) -> None:
        self.choose(replace(self.conditions, context=context))

    def _numbers(
        self, menu: QMenu, offered: tuple[int, ...], now: int, choose: Callable[[int], None], most: int
    ) -> None:
        menu.clear()
        group = QActionGroup(menu)
        for number in sorted({*offered, now}):
            action = menu.addAction(f"{number:,}", partial(choose, number))
            action.setCheckable(True)
            action.setChecked(number == now)
            group.addAction(action)
        menu.addAction(tr(OTHER), partial(self._ask_number, menu.title().partition(":")[0], now, choose, most))

    def _ask_number(self, title: str, now: int, choose: Callable[[int], None], most: int) -> None:
        number, ok = QInputDialog.getInt(self.parentWidget(), tr("Forecast"), title, min(now, most), 1, most)
        if ok:
            choose(number)


def _positions(document: Document) -> int | None:
    """How many tokens the open model can attend to, where its config says so."""
    found = document.checkpoint.config.get("max_position_embeddings") if document.checkpoint is not None else None
    return found if isinstance(found, int) and found > 1 else None
