"""The walk through a network on calibration text: from the embeddings, block by block, to the output head."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from benchvise.core.blockwise.calibration import CalibrationText
from benchvise.core.blockwise.context import BlockwiseJob
from benchvise.core.blockwise.embedding_and_head import EmbeddingAndHead
from benchvise.core.blockwise.kept_layers import record_changed
from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.recorder import Recorder
from benchvise.core.blockwise.run_blocks import BlockwiseStage, HiddenStates
from benchvise.core.blockwise.state import State, StateFile
from benchvise.core.blockwise.sub_progress import SubProgress
from benchvise.core.blockwise.transforming import Transforms
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace


class BlockwiseRun:
    """A plan with calibration or transforms, carried out in a run.

    Results depend on the number of torch's threads and on the device, in the last digits of sums; for the same of both
    they are the same, byte for byte, also when the job was interrupted and taken up again.
    text: None when nothing in the plan looks at activations.
    """

    def __init__(
        self, plan: Plan, run: RunRecord, workspace: Workspace, text: CalibrationText | None, progress: Progress
    ) -> None:
        self._plan = plan
        self._rows = plan.treated_rows
        self._text = text
        self._progress = progress
        identity = job_identity(plan, text)
        self._recorder = Recorder(run, workspace, identity, progress)
        self._state = StateFile(run.folder, identity)

    def carry_out(self, shares: Mapping[str, Shared], *, finished: bool) -> dict[str, LayerCompressed]:
        """The results of all treated layers by their names; what an earlier process left is not done again.

        shares: what global fits say to layers. finished: whether the run was done before.
        Raises CheckpointError, RecipeError and OutputError as its parts do.
        """
        if finished and self._all_there():
            return {row.layer.name: self._recorder.earlier(row) for row in self._rows}
        sample = None if self._text is None else self._text.ids[:1]
        network = Network(weights_of(self._plan.operated), self._progress, sample)
        for note in network.notes:
            self._progress.note(note)
        job = BlockwiseJob(self._plan.recipe, network, self._recorder, shares, self._progress)
        transforms = Transforms(self._plan.recipe, network, self._progress)
        ends = EmbeddingAndHead(job, [row for row in self._rows if row.layer.name not in network.inside], self._text)
        blocks = [
            [row for row in self._rows if network.inside.get(row.layer.name) == index] for index in range(network.count)
        ]
        sizes = self._sizes(network)
        self._progress.start(sum(sizes) + ends.nbytes, "bytes")
        transforms.change_ends()
        state = self._taken_up([ends.before, *blocks, ends.behind])
        streams = self._begin(job, ends, transforms) if state is None else self._again(job, ends, blocks, state)
        walk = BlockwiseStage(job, transforms, streams, ends.batching)
        for index in range(0 if state is None else state.stage, network.count):
            # Behind the last block with anything to solve, nothing needs hidden states.
            onward = bool(ends.behind) or any(blocks[index + 1 :]) or (transforms.some and index + 1 < network.count)
            if blocks[index] or onward or transforms.some:
                walk.block(index, blocks[index], SubProgress(self._progress, sizes[index]), onward=onward)
            else:
                self._progress.advance(sizes[index])
            self._state.save(State(index + 1, walk.streams.named()))
        if state is None or state.stage <= network.count:
            ends.solve_behind(walk.streams)
            self._state.save(State(network.count + 1))
        return job.results

    def forget(self) -> None:
        """The run is done: what was kept for taking it up goes."""
        self._state.remove()

    def _begin(self, job: BlockwiseJob, ends: EmbeddingAndHead, transforms: Transforms) -> HiddenStates:
        """Solve what lies before the blocks; the hidden states that enter the first."""
        network = job.network
        if transforms.some:
            treated = {row.layer.name for row in self._rows}
            layers = self._plan.checkpoint.layers
            outside = (layer for layer in layers if layer.name not in network.inside | dict.fromkeys(treated))
            record_changed(network, outside, self._recorder)
        shown_original = self._plan.recipe.calibration.inputs == "original"
        original = ends.entering() if shown_original or compares(self._rows) else None
        ends.solve_before()
        streams = HiddenStates(original, None if shown_original else ends.entering())
        self._state.check_space(sum(hidden.nbytes for hidden in streams.named().values()))
        return streams

    def _again(
        self, job: BlockwiseJob, ends: EmbeddingAndHead, blocks: Sequence[Sequence[PlanRow]], state: State
    ) -> HiddenStates:
        """Tell of what is finished; the hidden states that enter the next block."""
        done = [ends.before, *blocks[: state.stage], *([ends.behind] if state.stage > len(blocks) else [])]
        for row in (row for part in done for row in part):
            job.results[row.layer.name] = self._recorder.earlier(row)
        ends_done = ends.nbytes if state.stage > len(blocks) else sum(row.layer.nbytes for row in ends.before)
        self._progress.advance(sum(self._sizes(job.network)[: state.stage]) + ends_done)
        hidden = {name: values.to(job.network.device) for name, values in state.hidden.items()}
        return HiddenStates(hidden.get("original"), hidden.get("compressed"))

    def _taken_up(self, parts: Sequence[Sequence[PlanRow]]) -> State | None:
        """The state to resume from, or None. parts: the rows before the blocks, of each block, and behind them."""
        state = self._state.load()
        if state is None:
            return None
        finished = parts[: state.stage + 1]
        return state if all(self._recorder.has(row) for part in finished for row in part) else None

    def _sizes(self, network: Network) -> list[int]:
        """Bytes of each block."""
        sizes = [0] * network.count
        for layer in self._plan.checkpoint.layers:
            if layer.name in network.inside:
                sizes[network.inside[layer.name]] += layer.nbytes
        return sizes

    def _all_there(self) -> bool:
        kept = (row.layer for row in self._plan.rows() if row.treatment.keeps)
        return all(map(self._recorder.has, self._rows)) and all(map(self._recorder.has_kept, kept))


def compares(rows: Sequence[PlanRow]) -> bool:
    """Whether any layer needs the original's hidden states beside the compressed ones."""
    solvers = [(row.treatment.solver, row.treatment.scheme) for row in rows]
    return any(solver.compares or solver.needs(scheme) == "block" for solver, scheme in solvers)


def job_identity(plan: Plan, text: CalibrationText | None) -> str:
    """Hex digest of what decides the results: checkpoint, recipe and calibration ids."""
    parts = [checkpoint_identity(plan.source), plan.recipe.digest, text.digest if text is not None else ""]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
