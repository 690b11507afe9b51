"""What each treatment of each layer takes of a decoding step: asked once for a set of treatments, then known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.state.decode_conditions import Conditions
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import ForecastCosts
from benchvise.core.protocol.results import LayerCosts
from benchvise.core.recipe.recipe import Treatment


class CostForecasts(QObject):
    """ready: what was asked for is known now. failed: the engine's refusal."""

    ready = Signal()
    failed = Signal(object)

    def __init__(self, client: EngineClient, parent: QObject) -> None:
        super().__init__(parent)
        self._question = LatestRequest(client, self)
        self._asked: ForecastCosts | None = None
        self._known: tuple[ForecastCosts, LayerCosts] | None = None

    def key(self, path: str, treatments: tuple[Treatment, ...], conditions: Conditions, workspace: str) -> str:
        """Names the costs in the workspace; "" while they are being forecast, which this begins."""
        wanted = ForecastCosts(
            path,
            treatments,
            batch=conditions.batch,
            context=conditions.context,
            profile=conditions.profile,
            workspace=workspace,
        )
        if self._known is not None and self._known[0] == wanted:
            return self._known[1].key
        if not self._question.pending or self._asked != wanted:
            self._asked, self._known = wanted, None
            self._question.ask([wanted], self._answered, self._refused)
        return ""

    def range_ms(self) -> tuple[float, float] | None:
        """Least and greatest milliseconds of a step that the choice among the treatments leads to; None before."""
        if self._known is None:
            return None
        costs = self._known[1]
        rest = costs.rest.value
        return rest + float(costs.milliseconds.min(axis=1).sum()), rest + float(costs.milliseconds.max(axis=1).sum())

    def ms_of(self, treatments: Mapping[str, str]) -> float | None:
        """Milliseconds of a step when each layer has the treatment of this key; None where that is not forecast."""
        if self._known is None:
            return None
        costs = self._known[1]
        column = {key: number for number, key in enumerate(costs.keys)}
        choice = [column.get(treatments.get(layer, ""), -1) for layer in costs.layers]
        if -1 in choice:
            return None
        return costs.rest.value + float(costs.milliseconds[np.arange(len(choice)), choice].sum())

    def forget(self) -> None:
        self._question.drop()
        self._asked = self._known = None

    def _answered(self, _: int, costs: LayerCosts) -> None:
        assert self._asked is not None
        self._known = self._asked, costs
        self.ready.emit()

    def _refused(self, _: int, failure: Failed) -> None:
        self.failed.emit(failure)
