"""How smooth the window is: gaps of its event loop while jobs run, time to the first picture, and 100,000 tensors.

    python -m tests.benchmarks.event_loop [--json] [--seconds 20] [--onscreen]

A timer of 5 ms ticks in the window's thread; a gap is the time between two ticks. The jobs are real ones, carried out
by the real engine in its own process: compress with clip search (and with small layers, which gives many events a
second), measure sensitivity, and evaluate. Needs no display unless --onscreen is given.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.big_checkpoint import make_many_tensors

ROOT = Path(__file__).resolve().parents[2]
TICK_MS = 5
TIMEOUT_SECONDS = 120

START_ONCE = """
import sys, time, psutil
from benchvise.app.shell.start import make_application, make_session
from benchvise.app.state.preferences import Preferences
from benchvise.app.theme.appearance import apply_theme
application = make_application()
apply_theme(application, "light")
from benchvise.app.shell.main_window import MainWindow
window = MainWindow(make_session(Preferences()))
window.show()
while not window._painted:
    application.processEvents()
print(time.time() - psutil.Process().create_time(), "torch" in sys.modules)
window.session.client.close()
"""


class Window:
    """The real window on a stage of its own."""

    def __init__(self, folder: Path) -> None:
        from PySide6.QtCore import QTimer

        from benchvise.app.shell.main_window import MainWindow
        from benchvise.app.shell.start import make_application, make_session
        from benchvise.app.state.preferences import Preferences
        from benchvise.app.theme.appearance import apply_theme

        self.application = make_application()
        apply_theme(self.application, "light")
        self.session = make_session(Preferences(folder / "window.ini"), workspace=str(folder / "workspace"))
        self.window = MainWindow(self.session)
        self.window.resize(1440, 900)
        self.window.show()
        self.ticks: list[float] = []
        self.timer = QTimer(interval=TICK_MS)
        self.timer.timeout.connect(lambda: self.ticks.append(time.perf_counter()))

    def run_until(self, ready, patience: float = TIMEOUT_SECONDS) -> None:
        """A real event loop, as in the program, until `ready`."""
        from PySide6.QtCore import QEventLoop, QTimer

        loop = QEventLoop()
        end = time.monotonic() + patience

        def check() -> None:
            if ready() or time.monotonic() > end:
                loop.quit()

        asking = QTimer(interval=50)
        asking.timeout.connect(check)
        asking.start()
        loop.exec()
        asking.stop()

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.run_until(lambda: time.monotonic() > end)

    def open(self, path: Path) -> None:
        document = self.session.document
        document.undo.setClean()  # or the window would ask whether to save the recipe
        document.close_checkpoint()
        self.window.opening.open(str(path))
        self.run_until(lambda: document.plan is not None)

    def gaps_while_jobs_run(self, most_seconds: float) -> list[float]:
        """Seconds between ticks from now until no job runs; jobs are cancelled after `most_seconds`."""
        self.ticks = []
        self.timer.start()
        self.run_until(lambda: not self.session.jobs.would_lose, most_seconds)
        self.timer.stop()
        for job in self.session.jobs:
            self.session.jobs.cancel(job.number)
        self.run_until(lambda: not self.session.jobs.would_lose)
        return [later - earlier for earlier, later in zip(self.ticks, self.ticks[1:], strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--seconds", type=float, default=20.0, help="at most this long per job")
    parser.add_argument("--onscreen", action="store_true", help="use the display")
    options = parser.parse_args()
    if not options.onscreen:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["BENCHVISE_SETTINGS"] = str(Path(folder) / "start.ini")
        results = measure_all(Path(folder), options.seconds)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, numbers in results.items():
        print(f"{name:34} " + "  ".join(f"{key} {value:.4g}" for key, value in numbers.items()))


def measure_all(folder: Path, most_seconds: float) -> dict[str, dict[str, float]]:
    results = {"start": measure_start()}
    window = Window(folder)
    results["compress, large layers"] = while_compressing(window, make_layers(folder / "large", 12, 2048), most_seconds)
    results["compress, small layers"] = while_compressing(
        window, make_layers(folder / "small", 1500, 128), most_seconds
    )
    results |= while_measuring(window, most_seconds)
    results |= many_tensors(window, make_many_tensors(folder / "many.safetensors"))
    window.session.document.undo.setClean()
    window.window.close()
    return results


def measure_start(repeat: int = 5) -> dict[str, float]:
    """Seconds from the start of the process to the first picture, Python's own start included."""
    seconds = []
    for _ in range(repeat):
        done = subprocess.run([sys.executable, "-c", START_ONCE], cwd=ROOT, capture_output=True, text=True, check=True)
        spent, torch = done.stdout.split()
        assert torch == "False"
        seconds.append(float(spent))
    return {"seconds": statistics.median(seconds), "slowest": max(seconds)}


def while_compressing(window: Window, path: Path, most_seconds: float) -> dict[str, float]:
    window.open(path)
    window.window.opening.use_preset("int4-g128-clip")
    window.run_until(lambda: window.session.document.plan_is_current)
    window.rest(3.0)  # the engine warms up, the first plot is built
    window.window.work.run()
    return summary(window.gaps_while_jobs_run(most_seconds))


def while_measuring(window: Window, most_seconds: float) -> dict[str, dict[str, float]]:
    from benchvise.app.shell.commands.opening import sample_path

    window.open(Path(sample_path()))
    window.window.opening.use_preset("int4-g128")
    window.run_until(lambda: window.session.document.plan_is_current)
    window.window.show_plot(3)
    window.rest(3.0)
    window.window.measure_sensitivity()
    sensitivity = summary(window.gaps_while_jobs_run(most_seconds))
    window.window.show_plot(0)
    window.rest(1.0)
    window.window.work.ask_evaluation()
    return {"measure sensitivity": sensitivity, "evaluate": summary(window.gaps_while_jobs_run(most_seconds))}


def many_tensors(window: Window, path: Path) -> dict[str, dict[str, float]]:
    """100,000 tensors: until they are seen, gaps while they come, each step of scrolling, each filter."""
    document, panel = window.session.document, window.window.layers
    document.undo.setClean()
    window.ticks = []
    window.timer.start()
    began = time.perf_counter()
    window.window.opening.open(str(path))
    window.run_until(lambda: len(panel.model.layers) == 100_000 and document.plan is not None)
    opened = time.perf_counter() - began
    window.rest(2.0)
    window.timer.stop()
    gaps = [later - earlier for earlier, later in zip(window.ticks, window.ticks[1:], strict=False)]
    panel.view.expandToDepth(4)
    bar = panel.view.verticalScrollBar()
    scrolling = []
    for step in range(200):
        bar.setValue(bar.maximum() * step // 200)
        begin = time.perf_counter()
        panel.view.viewport().repaint()
        scrolling.append(time.perf_counter() - begin)
    filtering = []
    for text in ("q_proj", "layers.7", "*.w1*", "re:9\\d\\b", "dtype:bfloat16", "shape:64", ""):
        begin = time.perf_counter()
        panel.filter_line.setText(text)
        panel._apply_filter()
        panel.view.viewport().repaint()
        filtering.append(time.perf_counter() - begin)
    return {
        "100,000 tensors: open": {"seconds": opened} | summary(gaps),
        "100,000 tensors: scroll (ms)": _spread(scrolling),
        "100,000 tensors: filter (ms)": _spread(filtering),
    }


def make_layers(folder: Path, count: int, side: int) -> Path:
    """A checkpoint of `count` square bf16 layers."""
    import numpy as np

    folder.mkdir()
    size = side * side * 2
    names = [f"model.layers.{n}.proj.weight" for n in range(count)]
    header = {
        name: {"dtype": "BF16", "shape": [side, side], "data_offsets": [n * size, (n + 1) * size]}
        for n, name in enumerate(names)
    }
    head = json.dumps(header).encode()
    values = np.random.default_rng(0).normal(size=side * side).astype(np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _ in range(count):
            file.write(bits)
    return folder


def summary(gaps: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(gaps)
    if not ordered:
        return {"ticks": 0}
    at = ordered[min(len(ordered) - 1, int(len(ordered) * 0.999))]
    over = sum(gap > 0.05 for gap in ordered)
    return {"ticks": len(ordered), "p99.9_ms": 1000 * at, "max_ms": 1000 * ordered[-1], "over_50_ms": over}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": 1000 * statistics.median(seconds), "max": 1000 * max(seconds)}


if __name__ == "__main__":
    main()
