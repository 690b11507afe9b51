"""Progress on a terminal: one line on stderr with rate and time left, and Ctrl+C as a wish to stop."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from benchvise.app.cli.table import width_of
from benchvise.core.errors import Cancelled
from benchvise.core.protocol.results import LayerCompressed, SensitivityCell, TuningStep
from benchvise.core.text import amount_text, duration_text, rate_text

REDRAW_SECONDS = 0.1
RATE_SECONDS = 5.0
BAR_CELLS = 24


class TerminalProgress:
    """A bar when `stream` is a terminal, and log lines when `verbose`; otherwise silent.

    clock: seconds, monotonic.
    """

    def __init__(self, stream: TextIO, *, verbose: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._verbose = verbose
        self._clock = clock
        self._draws = stream.isatty()
        self._lock = threading.RLock()
        self._cancelled = threading.Event()
        self._total = 0
        self._done = 0
        self._unit = ""
        self._drawn_at = -1.0
        self._shown = False
        self._marks: list[tuple[float, int]] = []
        self._loss = ""

    def start(self, total: int, unit: str) -> None:
        with self._lock:
            self._total, self._unit, self._done = total, unit, 0
            self._loss = ""
            self._marks = [(self._clock(), 0)]
            self._draw(at_once=True)
        self.check_cancelled()

    def advance(self, units: int) -> None:
        with self._lock:
            self._done += units
            self._draw()
        self.check_cancelled()

    def check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def note(self, message: str) -> None:
        if self._verbose:
            self._say(message)

    def result(self, record: object) -> None:
        if isinstance(record, TuningStep) and record.loss is not None:
            self._loss = f"loss {record.loss:.4g}"
        if self._verbose:
            self._say(_in_words(record))

    def cancel(self) -> None:
        """Ask the job to stop at its next step; may be called from a signal handler."""
        self._cancelled.set()

    def clear(self) -> None:
        """Take the bar off the terminal."""
        with self._lock:
            if self._shown:
                self._stream.write("\r\x1b[2K")
                self._stream.flush()
                self._shown = False

    def _say(self, line: str) -> None:
        with self._lock:
            self.clear()
            self._stream.write(line + "\n")
            self._draw(at_once=True)

    def _draw(self, *, at_once: bool = False) -> None:
        now = self._clock()
        if not self._draws or not self._unit or (not at_once and now - self._drawn_at < REDRAW_SECONDS):
            return
        self._drawn_at, self._shown = now, True
        self._stream.write("\r\x1b[2K" + self.line(now, shutil.get_terminal_size().columns))
        self._stream.flush()

    def line(self, now: float, width: int) -> str:
        """The bar as it looks at `now`, cut to `width` cells."""
        share = min(self._done / self._total, 1.0) if self._total > 0 else 0.0
        filled = round(share * BAR_CELLS)
        parts = [
            f"{share * 100:3.0f} %",
            "█" * filled + "░" * (BAR_CELLS - filled),
            f"{amount_text(self._done, self._unit)} of {amount_text(self._total, self._unit)}",
        ]
        parts += [self._loss] if self._loss else []
        rate = self._rate(now)
        if rate > 0:
            left = max(self._total - self._done, 0) / rate
            parts += [rate_text(rate, self._unit), f"{duration_text(left)} left"]
        line = "  ".join(parts)
        while width_of(line) >= width and len(parts) > 1:
            parts.pop()
            line = "  ".join(parts)
        return line

    def _rate(self, now: float) -> float:
        """Units a second over the last few seconds, so that a change of pace shows."""
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[1][0] > RATE_SECONDS:
            self._marks.pop(0)
        since, done = self._marks[0]
        return (self._done - done) / (now - since) if now > since else 0.0


@contextmanager
def reporting(progress: TerminalProgress) -> Iterator[TerminalProgress]:
    """Ctrl+C cancels the job at its next step, a second one ends it at once; the bar goes away at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield progress
        progress.clear()
        return

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a handler
        progress.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield progress
    finally:
        signal.signal(signal.SIGINT, before)
        progress.clear()


def _in_words(record: object) -> str:
    if isinstance(record, LayerCompressed):
        quality = "exact" if record.sqnr_db is None else f"{record.sqnr_db:.2f} dB"
        parts = [record.treatment, f"{record.bits_per_weight:.3f} bit/weight", quality]
        if record.output_error is not None:
            parts.append(f"output error {record.output_error:.3g}")
        return f"{record.name}: {', '.join((*parts, *(('finished before',) if record.resumed else record.notes)))}"
    if isinstance(record, TuningStep):
        value = f"loss {record.loss:.5f}" if record.loss is not None else f"KL on held-out text {record.held_out:.5f}"
        return f"{record.method}: step {record.step:,} of {record.steps:,}, {value}"
    if isinstance(record, SensitivityCell):
        return f"{record.layer}: {record.treatment}, KL {record.kl:.3g}"
    return str(record)
