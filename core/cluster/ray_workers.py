"""Tasks on the machines of a Ray cluster. Ray starts workers, moves results, and gives what a dead one had to another.

Source: Moritz et al., Ray, arXiv 1712.05889.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from benchvise.core.cluster.layer_task import ClusterJob, LayerTask, SolvedLayer, solve_task
from benchvise.core.errors import UserError
from benchvise.core.progress import Progress

AUTO = "auto"
"""The cluster that runs on this machine; where none does, one of this machine's processors for as long as the job."""

_WAIT_SECONDS = 0.2
_CONNECT_SECONDS = 5.0
_WAITING_TASKS = 2
"""For each processor, so that none waits for its next task."""


class RayWorkers:
    """`with RayWorkers(address, progress) as workers`: a connection to a cluster, left again at the end."""

    def __init__(self, address: str, progress: Progress) -> None:
        """address: "auto", or where a cluster's head answers: "10.0.0.1:6379", "ray://10.0.0.1:10001".

        Raises UserError when Ray is not installed, or no cluster answers.
        """
        self._progress = progress
        try:
            import ray
        except ImportError as error:
            raise UserError(
                "Work on several machines needs Ray, which is not installed",
                remedy="Install it with: pip install 'benchvise[cluster]'",
            ) from error
        self._ray: Any = ray
        self._connect(address)

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    @property
    def processors(self) -> int:
        """How many tasks run at once."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def solve(self, job: ClusterJob, tasks: Sequence[LayerTask]) -> Iterator[tuple[LayerTask, SolvedLayer]]:
        """Each task with what came of it, as they end. Tasks of a worker that dies are given to another.

        Raises the UserError of the first task that fails, UserError when one kills its workers again and again, and
        Cancelled; what has not ended then is stopped.
        """
        remote = self._ray.remote(num_cpus=1, max_retries=3)(solve_task)
        common = self._ray.put(job)
        waiting, running = list(reversed(tasks)), dict[Any, LayerTask]()
        try:
            while waiting or running:
                while waiting and len(running) < _WAITING_TASKS * self.processors:
                    task = waiting.pop()
                    running[remote.remote(common, task)] = task
                ended, _ = self._ray.wait(list(running), timeout=_WAIT_SECONDS)
                self._progress.check_cancelled()
                for reference in ended:
                    task = running.pop(reference)
                    yield task, self._answer(reference, task)
        finally:
            for reference in running:
                with suppress(Exception):  # the cluster may be what failed
                    self._ray.cancel(reference, force=True)

    def _answer(self, reference: Any, task: LayerTask) -> SolvedLayer:
        failures = self._ray.exceptions
        try:
            answer: SolvedLayer = self._ray.get(reference)
        except failures.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise
        except (failures.WorkerCrashedError, failures.OutOfMemoryError, failures.NodeDiedError) as error:
            raise UserError(
                "Workers died of this layer again and again",
                where=task.layer,
                remedy="See that they have memory enough, then resume: finished layers are kept.",
            ) from error
        except failures.RayError as error:
            raise _gone(str(error)) from error
        return answer

    def _connect(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "configure_logging": False}
        if address != AUTO:
            _refuse_silent(address)
        try:
            self._ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
            if address != AUTO:
                raise _gone(f"no cluster answers at '{address}'") from error
            self._ray.init(include_dashboard=False, **quiet)


def _refuse_silent(address: str) -> None:
    """Raises UserError where nothing listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _gone(f"no cluster answers at '{address}'") from error


def _gone(why: str) -> UserError:
    return UserError(
        f"The cluster cannot be reached: {why.splitlines()[0].rstrip('.') if why else 'it does not answer'}",
        remedy="Start it with 'ray start --head', give its address, or leave --cluster out. Finished layers are kept.",
    )
