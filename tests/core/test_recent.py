"""A bounded store that threads share."""

from __future__ import annotations

import threading
import time

from benchvise.core.recent import Recent


class SlowKey:
    """A key whose look-up lets other threads run."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        time.sleep(0.0005)
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SlowKey) and other.number == self.number


def test_the_oldest_goes_first_and_what_is_taken_is_gone() -> None:
    recent: Recent[str, int] = Recent(2)
    for value, key in enumerate("abca"):
        recent.put(key, value)
    assert [recent.take(key) for key in "abc"] == [3, None, 2]
    assert recent.take("a") is None


def test_one_thread_puts_while_another_takes() -> None:
    recent: Recent[SlowKey, int] = Recent(1)
    keys = [SlowKey(number) for number in range(100)]
    faults: list[BaseException] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            for key in keys[-3:]:
                recent.take(key)

    def put() -> None:
        try:
            for turn in range(200):
                recent.put(keys[-1 - turn % 3], turn)
        except KeyError as error:
            faults.append(error)
        done.set()

    threads = [threading.Thread(target=work) for work in (take, put)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
