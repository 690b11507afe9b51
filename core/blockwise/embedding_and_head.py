"""What lies before the first block and behind the last one: embeddings, projections, the output head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from benchvise.core.blockwise.batching import Batching
from benchvise.core.blockwise.block_run import EndRun
from benchvise.core.blockwise.calibration import CalibrationText
from benchvise.core.blockwise.context import BlockwiseJob
from benchvise.core.blockwise.input_hooks import InputHook, in_order
from benchvise.core.blockwise.nonfinite import not_finite
from benchvise.core.blockwise.observed_layers import observed_layers
from benchvise.core.blockwise.run_blocks import HiddenStates
from benchvise.core.blockwise.statistics import Collector, Learned, NotFinite, Stream, finite
from benchvise.core.blockwise.sub_progress import SubProgress
from benchvise.core.recipe.plan import PlanRow


class EmbeddingAndHead:
    """The treated layers outside the blocks. Those of either end are solved at once, on what enters them then.

    text:   None when no layer is shown anything.
    before: those that are at work before the blocks, or whose inputs cannot be seen; behind: the others.
    """

    def __init__(self, job: BlockwiseJob, rows: Sequence[PlanRow], text: CalibrationText | None) -> None:
        self._job = job
        self._ids = None if text is None else text.ids.to(job.network.device)
        self.batching = Batching(1 if text is None else text.window_tokens, job.progress)
        self.nbytes = sum(row.layer.nbytes for row in rows)
        self._entrance = EndRun(job.network.model, job.network.enter)
        self._exit = EndRun(job.network.model, job.network.leave)
        self._unobservable: dict[str, str] = {}
        hooks: tuple[InputHook, ...] = ()
        if self._ids is not None and rows:
            observed = observed_layers(job.network.model, rows)
            self._unobservable = observed.unobservable
            first = self._ids[:1]
            hooks = in_order(job.network.model, observed.hooks, lambda: job.network.enter(first))
        behind = {name for hook in hooks if not hook.calls for name in hook.names}
        self._hooks = hooks
        self.before = [row for row in rows if row.layer.name not in behind]
        self.behind = [row for row in rows if row.layer.name in behind]

    def entering(self) -> Tensor | None:
        """The hidden states, float32 [windows, tokens, width], that enter the first block, with weights as they are.

        Raises CheckpointError when they are not finite.
        """
        if self._ids is None:
            return None
        ids = self._ids
        entering: list[Tensor] = []

        def take(part: slice, hidden: Tensor) -> None:
            if not entering:  # in one piece from the beginning: freed pieces would leave gaps in memory
                entering.append(hidden.new_empty(len(ids), *hidden.shape[1:]))
            entering[0][part] = finite(hidden) if hidden.is_floating_point() else hidden

        try:
            self.batching.run(len(ids), lambda part: self._entrance(ids[part]), take)
        except NotFinite as error:
            raise not_finite("the embeddings") from error
        return entering[0]

    def solve_before(self) -> None:
        self._solve(self.before, None if self._ids is None else Stream(self._entrance, self._ids), None)

    def solve_behind(self, streams: HiddenStates) -> None:
        """streams: what the last block gave."""
        shown = None if streams.shown is None else Stream(self._exit, streams.shown)
        beside = streams.compressed is not None and streams.original is not None
        original = Stream(self._exit, streams.original) if beside and streams.original is not None else None
        self._solve(self.behind, shown, original)

    def _solve(self, rows: Sequence[PlanRow], shown: Stream | None, original: Stream | None) -> None:
        if not rows:
            return
        sub_progress = SubProgress(self._job.progress, sum(row.layer.nbytes for row in rows))
        passes, solving = sub_progress.part(0.5), sub_progress.part(0.5)
        learned = Learned()
        if shown is not None:
            observed = observed_layers(self._job.network.model, rows, compared=original is not None)
            passes.start(len(shown.hidden), "windows")
            hooks = in_order(shown.run.module, observed.hooks, lambda: shown.run(shown.hidden[:1]))
            try:
                learned = Collector(hooks, observed.wanted, shown, original).run(self.batching, passes.advance)
            except NotFinite as error:
                raise not_finite(f"the last norm, on the way to {error}") from error
        alone = {name: f"solved from its weights alone: {why}" for name, why in self._unobservable.items()}
        names = {row.layer.name for row in rows}
        solving.start(sum(row.layer.parameters for row in rows), "weights")
        self._job.solve(rows, learned.noting({name: why for name, why in alone.items() if name in names}), solving)
        sub_progress.finish()
