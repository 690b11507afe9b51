from __future__ import annotations

import io
import signal
import threading

import pytest

from benchvise.app.cli.progress import TerminalProgress, reporting
from benchvise.core.errors import Cancelled
from benchvise.core.protocol.results import LayerCompressed, SensitivityCell


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def last_line(stream: io.StringIO) -> str:
    return stream.getvalue().rpartition("\x1b[2K")[2]


def test_the_bar_shows_share_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(stream, verbose=False, clock=clock)
    progress.start(4_000_000, "bytes")
    clock.now += 2
    progress.advance(1_000_000)
    line = last_line(stream)
    assert line.startswith(" 25 %  " + "█" * 6 + "░" * 18)
    assert "1.00 MB of 4.00 MB" in line
    assert "500 kB/s" in line
    assert line.endswith("6.0 s left")


def test_the_rate_follows_a_change_of_pace() -> None:
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(stream, verbose=False, clock=clock)
    progress.start(10_000, "tokens")
    for pace in [100] * 20 + [10] * 20:
        clock.now += 1
        progress.advance(pace)
    assert "10 tokens/s" in progress.line(clock.now, 200)


def test_the_bar_never_wraps() -> None:
    clock = Clock()
    progress = TerminalProgress(Terminal(), verbose=False, clock=clock)
    progress.start(10**12, "bytes")
    clock.now += 1
    progress.advance(123_456_789)
    for width in range(8, 120):
        assert len(progress.line(clock.now, width)) < width


def test_redraws_are_few_and_a_new_stage_starts_at_zero() -> None:
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(stream, verbose=False, clock=clock)
    progress.start(100_000, "weights")
    for _ in range(100_000):
        clock.now += 1e-5
        progress.advance(1)
    assert stream.getvalue().count("\r") < 20
    progress.start(10, "layers")
    assert last_line(stream).startswith("  0 %")


@pytest.mark.parametrize(("total", "done"), [(0, 5), (10, 20)])
def test_odd_totals_do_no_harm(total: int, done: int) -> None:
    clock = Clock()
    progress = TerminalProgress(Terminal(), verbose=False, clock=clock)
    progress.start(total, "bytes")
    clock.now += 1
    progress.advance(done)
    assert "%" in progress.line(clock.now, 100)


def test_a_pipe_gets_no_bar_and_the_log_only_when_asked() -> None:
    for verbose in (False, True):
        stream = io.StringIO()
        progress = TerminalProgress(stream, verbose=verbose)
        progress.start(10, "bytes")
        progress.advance(10)
        progress.note("read the tokenizer")
        progress.result(SensitivityCell("a", "int4 g128", 0.125))
        progress.result(LayerCompressed("b", "int8 channel", 40.5, 0.1, 0, 64, 20, 8.5, 0.1, resumed=True))
        progress.clear()
        expected = (
            "read the tokenizer\na: int4 g128, KL 0.125\nb: int8 channel, 8.500 bit/weight, 40.50 dB, finished before\n"
        )
        assert stream.getvalue() == (expected if verbose else "")


def test_log_lines_stand_above_the_bar() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream, verbose=True)
    progress.start(10, "bytes")
    progress.note("a line")
    assert "\r\x1b[2Ka line\n\r\x1b[2K  0 %" in stream.getvalue()
    progress.clear()
    assert stream.getvalue().endswith("\r\x1b[2K")


def test_ctrl_c_cancels_at_the_next_step_and_a_second_one_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with reporting(TerminalProgress(io.StringIO(), verbose=False)) as progress:
        progress.check_cancelled()
        signal.raise_signal(signal.SIGINT)
        for step in (progress.check_cancelled, lambda: progress.advance(1), lambda: progress.start(1, "bytes")):
            with pytest.raises(Cancelled):
                step()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[bool] = []

    def work() -> None:
        with reporting(TerminalProgress(io.StringIO(), verbose=False)) as progress:
            progress.check_cancelled()
            seen.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
