"""How fast the budget follows the slider: from the drag to the repainted window, at 300 layers × 12 candidates.

    python -m tests.benchmarks.budget_slider [--json] [--drags 300] [--picture OUT.png] [--kind TITLE] [--theme dark]

The checkpoint has real headers and files without blocks behind them; the sensitivities of its 301 linear layers are
made up. All else is real: the window, drawn offscreen, and the engine in its own process. Between two drags the window
is at rest, so each drag pays for its own answer. A drag is over when the tree, the figures and the plots that follow
from the answer are painted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchvise.app.engine.listeners import Asked
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.events import Finished
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.protocol.results import Allocated, Ready, Sensitivity, SensitivityCell
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.workspace.sensitivities import ENABLE_ONE, LayerSensitivity, SensitivityFile, treatment_key
from benchvise.core.workspace.workspace import Workspace
from tests.benchmarks.big_checkpoint import make_sparse_checkpoint

BLOCKS = 43
LAYERS, CANDIDATES = 7 * BLOCKS, 12
BITS, GROUPS = (2, 3, 4, 5, 6, 8), (64, 128)
KEY = "made-up"
TIMEOUT_SECONDS = 300
PLAYED = 1_000_000
"""Number of a request that the engine never hears of."""


def candidates() -> tuple[Treatment, ...]:
    return tuple(Treatment(Integer(bits=bits, group_size=group)) for bits in BITS for group in GROUPS)


def make_up_kl_increases(checkpoint: Checkpoint, workspace: str) -> Sensitivity:
    """Sensitivities as they are found: spread over two decades between layers, four times less for each bit more."""
    spread = np.random.default_rng(0)
    kl_increases = SensitivityFile(Workspace(workspace).sensitivity_file(KEY))
    kl_increases.describe(checkpoint_identity(checkpoint), 512)
    cells = []
    linears = [layer for layer in checkpoint.layers if layer.kind == "linear" and layer.depth is not None]
    for layer in linears:
        fragility = 10 ** spread.uniform(-3, -1)
        for treatment in candidates():
            wobble = spread.uniform(0.9, 1.1) * (1.1 if treatment.scheme.group_size == GROUPS[-1] else 1.0)
            kl = float(fragility * 4.0 ** (2 - treatment.scheme.bits) * wobble)
            kl_increases.put(layer.name, treatment_key(treatment, ""), ENABLE_ONE, LayerSensitivity(kl, kl / 10, 20.0))
            cells.append(
                SensitivityCell(layer.name, treatment.tag, kl, output_error=kl / 10, sqnr_db=20.0, key=treatment.key)
            )
    kl_increases.save()
    return Sensitivity(tuple(cells), 512, 1.0, key=KEY)


class Stage:
    """The real window on the generated checkpoint, its budget open."""

    def __init__(self, folder: Path, theme: str = "light") -> None:
        from benchvise.app.shell.start import make_application, make_session, show_window
        from benchvise.app.state.preferences import Preferences
        from benchvise.app.theme.appearance import apply_theme

        workspace = str(folder / "workspace")
        self.application = make_application()
        apply_theme(self.application, "dark" if theme == "dark" else "light")
        self.session = make_session(Preferences(folder / "window.ini"), workspace=workspace)
        self.warm: list[object] = []
        self.answers: list[object] = []
        client = self.session.client
        client.listen(Finished, self._hear_ready, carrying=Ready)
        client.listen(Finished, self._hear_answer, carrying=Allocated)
        self.window = show_window(self.session)
        self.window.resize(1440, 900)
        path = make_sparse_checkpoint(folder / "model", BLOCKS)
        document = self.session.document
        self.window.opening.open(str(path))
        self.run_until(lambda: document.plan is not None)
        self._measure(make_up_kl_increases(open_checkpoint(str(path)), workspace))
        self.window.show_plot(self.window.plot_titles().index("Budget"))
        from benchvise.app.budget.panel import BudgetPanel

        panel = self.window.plots.panel("Budget")
        assert isinstance(panel, BudgetPanel)
        self.panel = panel
        self.run_until(lambda: panel.allocation is not None and bool(self.warm))
        self.rest(3.0)

    def _measure(self, sensitivity: Sensitivity) -> None:
        """Play the end of a measurement."""
        document = self.session.document
        assert document.checkpoint is not None
        request = MeasureSensitivity(document.checkpoint.path, "", candidates())
        listeners = self.session.client._listeners
        listeners.tell(Asked(PLAYED), request)
        listeners.tell(Finished(PLAYED, sensitivity), request)

    def run_until(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError("the window did not get there")
            self.application.processEvents()
            time.sleep(0.0005)

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.run_until(lambda: time.monotonic() > end)

    def _hear_ready(self, _: int, ready: Ready, __: object) -> None:
        self.warm.append(ready)

    def _hear_answer(self, _: int, allocated: Allocated, __: object) -> None:
        self.answers.append(allocated)

    def drag(self, step: int) -> float:
        """Seconds from a move of the slider until what follows from it is painted."""
        self.answers.clear()
        started = time.perf_counter()
        self.panel.controls.slider.setValue(step)
        self.run_until(lambda: bool(self.answers))
        self.application.sendPostedEvents()
        self.application.processEvents()
        taken = time.perf_counter() - started
        self.rest(0.06)
        return taken


def main() -> int:
    options = _parse()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("QT_LOGGING_RULES", "qt.qpa.*=false")
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), options.theme)
        if options.kind:
            stage.panel.controls.kinds.setCurrentText(options.kind)
            stage.rest(1.0)
        chance = random.Random(0)
        steps = [chance.randint(0, 1000) for _ in range(options.drags)]
        times = [1000 * stage.drag(step) for step in steps if step != stage.panel.controls.slider.value()]
        problem = stage.panel.problem.text()
        if options.picture:
            stage.window.grab().save(options.picture)
        stage.session.client.close()
    result = {
        "layers": LAYERS,
        "candidates": CANDIDATES,
        "drags": len(times),
        "median_ms": float(np.median(times)),
        "p99_ms": float(np.quantile(times, 0.99)),
        "max_ms": max(times),
        "problem": problem,
    }
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['drags']} drags at {LAYERS} layers × {CANDIDATES} candidates: "
            f"{result['median_ms']:.0f} ms in the middle, {result['p99_ms']:.0f} ms in 99 of 100, "
            f"{result['max_ms']:.0f} ms at most {problem}"
        )
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--drags", type=int, default=300)
    parser.add_argument("--picture", default="")
    parser.add_argument("--kind", default="")
    parser.add_argument("--theme", default="light")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
