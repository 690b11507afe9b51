"""The plan of the recipe as it is: asked for a moment after each edit."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import MakePlan
from benchvise.core.protocol.results import Planned
from benchvise.core.recipe.recipe import Recipe

PLAN_DELAY_MS = 60


class LatestPlan(QObject):
    """plan: the last one made. current: whether it is of the recipe as it is now. problem: why that has none."""

    changed = Signal()

    def __init__(self, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.plan: Planned | None = None
        self.problem: Failed | None = None
        self.current = False
        self._wanted: tuple[Checkpoint, Recipe] | None = None
        self._asking = LatestRequest(client, self)
        self._timer = QTimer(self, singleShot=True, interval=PLAN_DELAY_MS)
        self._timer.timeout.connect(self._ask)

    def forget(self) -> None:
        """Another checkpoint, or none."""
        self._stop()
        self.plan, self.problem, self._wanted = None, None, None

    def ask_soon(self, checkpoint: Checkpoint, recipe: Recipe) -> None:
        """The recipe was edited: the last plan stays in sight until its own is there."""
        self._stop()
        self._wanted = checkpoint, recipe
        self._timer.start()

    def put(self, checkpoint: Checkpoint, recipe: Recipe, plan: Planned) -> None:
        """A plan came with the recipe."""
        self._stop()
        self._wanted = checkpoint, recipe
        self._take(0, plan)

    def outdate(self) -> None:
        """The recipe was edited, and its plan is on the way."""
        self._stop()

    def _stop(self) -> None:
        self.current = False
        self._timer.stop()
        self._asking.drop()

    def _ask(self) -> None:
        if self._wanted is not None:
            checkpoint, recipe = self._wanted
            self._asking.ask([MakePlan(checkpoint.path, recipe)], self._take, self._refuse)

    def _take(self, _: int, plan: Planned) -> None:
        if self._wanted is None or len(plan.choice) != len(self._wanted[0].layers):
            return
        self.plan, self.problem, self.current = plan, None, True
        self.changed.emit()

    def _refuse(self, _: int, failure: Failed) -> None:
        self.problem = failure
        self.changed.emit()
