"""For how many sequences, after how many tokens, and on which machine the decode speed is forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QActionGroup
from PySide6.QtWidgets import QFileDialog, QInputDialog, QMenu, QWidget

from app.problems import Problem
from core.errors import UserError
from core.protocol.requests import ForecastLatency
from core.protocol.results import MachineProfile
from core.workspace.machine_profiles import keep_profile, kept_profiles, load_profile

BATCHES = (1, 4, 16, 64)
CONTEXTS = (32, 512, 2048, 8192)
THIS_MACHINE = "This machine"
OTHER = "Other …"
MOST = 1 << 20
"""Sequences or tokens that can be asked for."""


@dataclass(frozen=True)
class Conditions:
    """profile: the file of another machine, "" for this one; machine: its name."""

    batch: int = ForecastLatency.batch
    context: int = ForecastLatency.context
    profile: str = ""
    machine: str = ""

    @property
    def usual(self) -> bool:
        """Whether measurements are made under the same conditions."""
        return self == Conditions()

    @property
    def words(self) -> str:
        """As part of a sentence."""
        sequences = "one sequence" if self.batch == 1 else f"{self.batch} sequences side by side"
        return f"{sequences} after {self.context:,} tokens"

    @property
    def short(self) -> str:
        """What is unusual about them, in a few characters."""
        amount = [f"{self.batch} × {self.context:,}"] if (self.batch, self.context) != _USUAL else []
        return ", ".join([self.machine] * bool(self.machine) + amount)


_USUAL = (ForecastLatency.batch, ForecastLatency.context)


class ForecastMenu(QMenu):
    """The conditions to choose from, as they are each time it opens."""

    chosen = Signal(object)
    failed = Signal(object)

    def __init__(self, workspace: Callable[[], str], positions: Callable[[], int | None], parent: QWidget) -> None:
        super().__init__(parent)
        self.conditions = Conditions()
        self._workspace = workspace
        self._positions = positions
        self._batches, self._contexts, self._machines = QMenu(self), QMenu(self), QMenu(self)
        for part in (self._batches, self._contexts, self._machines):
            part.setToolTipsVisible(True)
            self.addMenu(part)
        self.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        """Offer what there is now."""
        now = self.conditions
        self._batches.setTitle(f"Sequences side by side: {now.batch:,}")
        self._contexts.setTitle(f"Tokens of context: {now.context:,}")
        self._machines.setTitle(f"Machine: {now.machine or THIS_MACHINE.lower()}")
        limit = self._positions() or MOST
        contexts = tuple(each for each in CONTEXTS if each < limit)
        self._numbers(self._batches, BATCHES, now.batch, self._choose_batch, MOST)
        self._numbers(self._contexts, contexts, now.context, self._choose_context, limit - 1)
        menu = self._machines
        menu.clear()
        group = QActionGroup(menu)
        here = menu.addAction(THIS_MACHINE, lambda: self.choose(replace(self.conditions, profile="", machine="")))
        here.setCheckable(True)
        here.setChecked(not self.conditions.profile)
        group.addAction(here)
        for profile in kept_profiles(self._workspace()):
            action = menu.addAction(profile.machine, partial(self._choose_profile, profile))
            action.setToolTip(f"{profile.key}\nMeasured {profile.created}")
            action.setCheckable(True)
            action.setChecked(self.conditions.profile == profile.file)
            group.addAction(action)
        menu.addSeparator()
        menu.addAction("Load profile …", self.ask_for_profile)

    def choose(self, conditions: Conditions) -> None:
        """Forecast under these conditions from now on."""
        if conditions != self.conditions:
            self.conditions = conditions
            self.chosen.emit(conditions)

    def ask_for_profile(self) -> None:
        """Let the person point to a file that another machine's `benchvise profile` wrote."""
        name, _ = QFileDialog.getOpenFileName(
            self.parentWidget(), "Load the profile of another machine", "", "Machine profiles (*.json);;All files (*)"
        )
        if name:
            self.load(Path(name))

    def load(self, path: Path) -> None:
        """Keep the profile in the workspace and forecast for its machine."""
        try:
            self._choose_profile(keep_profile(load_profile(path), self._workspace()))
        except UserError as error:
            self.failed.emit(Problem(error.what, error.where, error.remedy, during="Load profile"))

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
        menu.addAction(OTHER, partial(self._ask_number, menu.title().partition(":")[0], now, choose, most))

    def _ask_number(self, title: str, now: int, choose: Callable[[int], None], most: int) -> None:
        number, ok = QInputDialog.getInt(self.parentWidget(), "Forecast", title, min(now, most), 1, most)
        if ok:
            choose(number)
