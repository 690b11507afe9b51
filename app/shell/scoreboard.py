"""The strip that always answers: what would it cost, and what would it bring?"""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QToolButton, QWidget

from benchvise.app.budget.forecast_menu import ForecastMenu
from benchvise.app.preflight.live_check import LiveCheck
from benchvise.app.state.decode_conditions import Conditions
from benchvise.app.state.problems import Problem
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.figure import Figure
from benchvise.core.language import tr
from benchvise.core.preflight.runtimes import RUNTIMES
from benchvise.core.protocol.events import Failed, Finished
from benchvise.core.protocol.requests import ForecastLatency, MeasureLatency
from benchvise.core.protocol.results import Estimate, Latency, LatencyForecast, RunSummary
from benchvise.core.text import byte_text, kl_text, plural, quality_word

IDLE_MS = 1500
SMALL_BYTES = 100_000_000
"""Up to this size a decode forecast takes a second and is made unasked, once the plan has been at rest."""

_MAX_OF_NAME = 22
"""Characters of a machine's name and of unusual conditions in the title of a figure; the tool tip has them whole."""

_REST = 2
"""Share of the width that is left free at the right, so that the figures stay together in a wide window."""


class Scoreboard(QFrame):
    """Size, bits, quality, decode speed, memory: planned or forecast until a run was made with this very recipe."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._forecast: LatencyForecast | None = None
        self._forecast_of = ("", "", Conditions())
        self._no_forecast = ""
        self._latencies: dict[str, Latency] = {}
        self.bytes = Figure(tr("Size"), tr("Bytes of all weights, before → after"))
        self.bits = Figure(
            tr("Bits per weight"),
            tr(
                "In the layers that are compressed, and over all weights: embedding, head and norms mostly keep "
                "their own\n"
                "Scales and zero points are counted"
            ),
        )
        self.quality = Figure(
            tr("Quality"), tr("KL divergence from the original at the model's output, nats per token")
        )
        self.decode = Figure(tr("Decode"), tr("Text generated per second, one sequence"))
        self.memory = Figure(tr("Memory"), tr("Memory the weights take while the model runs"))
        self.forecast_button = QToolButton()
        self.forecast_button.setText(tr("Forecast"))
        self.forecast_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.forecast_button.setAccessibleName(tr("Forecast the decode speed"))
        self.forecast_button.setToolTip(
            tr(
                "Forecast the decode speed from benchmarks of the kernels\n"
                "The arrow chooses how many sequences, how long a context, and which machine"
            )
        )
        self.forecast_button.clicked.connect(self.ask_forecast)
        self.forecast_menu = ForecastMenu(session.document, self.forecast_button)
        session.document.conditions_changed.connect(self._on_conditions)
        self.forecast_menu.failed.connect(lambda problem: session.problems.report(problem, card=True))
        self.forecast_button.setMenu(self.forecast_menu)
        self.forecast_button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        self.runtime = Figure(
            tr("Runtime"), tr("Whether the runtime chosen under For loads the result, and what falls back there")
        )
        self.live_check = LiveCheck(session.document, session.client, self)
        self.live_check.changed.connect(self._show_runtime)
        session.document.runtime_changed.connect(self._show_runtime)
        self._figures = (self.bytes, self.bits, self.quality, self.decode, self.memory)
        self.setProperty("surface", "panel")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 0, 12, 0)
        layout.setSpacing(2 * UNIT)
        decode = QHBoxLayout()
        decode.setSpacing(UNIT)
        decode.addWidget(self.decode)
        decode.addWidget(self.forecast_button, 0, Qt.AlignmentFlag.AlignVCenter)
        decode.addStretch(1)
        for figure, share in ((self.bytes, 5), (self.bits, 4), (self.quality, 4)):
            layout.addWidget(figure, share)
        layout.addLayout(decode, 5)
        layout.addWidget(self.memory, 3)
        layout.addWidget(self.runtime, 4)
        layout.addStretch(_REST)
        self._idle = QTimer(self, singleShot=True, interval=IDLE_MS)
        self._idle.timeout.connect(self._forecast_unasked)
        document = session.document
        document.checkpoint_changed.connect(self._forget)
        for signal in (document.recipe_changed, document.plan_changed, document.runs_changed):
            signal.connect(self.refresh)
        document.active_run_changed.connect(self.refresh)
        document.active_run_read.connect(self.refresh)
        document.plan_changed.connect(self._idle.start)
        session.client.listen(Finished, self._on_latency, carrying=Latency, answering=MeasureLatency)
        session.jobs.changed.connect(self._enable)
        self.follow_theme()
        self.refresh()
        self._show_runtime()

    def follow_theme(self) -> None:
        self.forecast_button.setIcon(icon("mdi6.speedometer"))

    def refresh(self) -> None:
        """Show what is known now."""
        document = self._session.document
        self._enable()
        if document.checkpoint is None:
            for figure in self._figures:
                figure.show_nothing(tr("Open a checkpoint to see it."))
            return
        run = document.active_summary() if document.active_run_is_current() else None
        if run is not None and run.state == "done":
            self.bytes.show_measured(
                f"{byte_text(run.bytes_before)} → {byte_text(run.bytes_after)}", tr("Run {run}", run=run.run)
            )
            self._show_bits(run.bits_per_weight, measured=True)
        else:
            self._show_plan()
        self._show_quality(run)
        self._show_decode(run)

    def ask_forecast(self) -> None:
        """Forecast the decode speed of the recipe as it is now."""
        if self.can_forecast():
            self._ask_forecast(asked_for=True)

    def can_forecast(self) -> bool:
        """True when there is a recipe that treats something, in a network whose structure is known."""
        document = self._session.document
        checkpoint, plan = document.checkpoint, document.plan
        if checkpoint is None or not checkpoint.architecture or document.plan_problem is not None:
            return False
        return plan is not None and plan.treated_layers > 0

    def _ask_forecast(self, *, asked_for: bool) -> None:
        """A failure is a problem of the person's only when they asked; the figures' tooltips say it in any case."""
        document = self._session.document
        assert document.checkpoint is not None
        path, recipe, conditions = document.checkpoint.path, document.recipe, document.conditions
        asked = (path, recipe.digest, conditions)

        def done(forecast: LatencyForecast) -> None:
            self._forecast, self._forecast_of = forecast, asked
            self.refresh()

        def failed(failure: Failed) -> None:
            self._no_forecast = tr("No forecast: {what}. {remedy}", what=failure.what, remedy=failure.remedy)
            if asked_for or failure.details:
                problem = Problem(failure.what, failure.where, failure.remedy, failure.details, tr("Forecast latency"))
                self._session.problems.report(problem, card=asked_for)
            self.refresh()

        self._no_forecast = ""
        request = ForecastLatency(
            path,
            recipe,
            document.workspace,
            conditions.batch,
            conditions.context,
            conditions.context if asked_for else 0,
            conditions.profile,
        )
        self._session.client.ask(request, done=done, failed=failed, owner=self)

    def _on_conditions(self) -> None:
        conditions = self._session.document.conditions
        about = f" · {_shortened(conditions.short)}" if conditions.short else ""
        self.decode.set_title(tr("Decode{about}", about=about))
        self.refresh()
        if not self._session.jobs.busy:
            self.ask_forecast()

    def _enable(self, _: int = 0) -> None:
        self.forecast_button.setEnabled(self.can_forecast() and not self._session.jobs.busy)

    def _forget(self) -> None:
        self._forecast = None
        self.refresh()

    def _show_plan(self) -> None:
        document = self._session.document
        plan, checkpoint = document.plan, document.checkpoint
        if plan is None or checkpoint is None:
            self.bytes.show_nothing(tr("The plan is being made."))
            self.bits.show_nothing(tr("The plan is being made."))
            return
        before = byte_text(plan.total_before)
        if plan.treated_layers:
            treated = tr(
                "{layers} treated, {bits_per_treated_weight:.2f} bits there",
                layers=plural(plan.treated_layers, "layer"),
                bits_per_treated_weight=plan.bits_per_treated_weight,
            )
            self.bytes.show_planned(f"{before} → {byte_text(plan.total_after)}", treated)
        else:
            self.bytes.show_planned(before, tr("Nothing is treated yet"))
        self._show_bits(plan.bits_per_weight, measured=False)

    def _show_bits(self, overall: float, *, measured: bool) -> None:
        document = self._session.document
        before, plan = document.totals.bits_per_weight, document.plan
        show = self.bits.show_measured if measured else self.bits.show_planned
        if plan is None or not plan.treated_layers:
            show(
                f"{before:.4g}"
                if abs(before - overall) < 0.005
                else tr("{before:.4g} → {overall:.2f} overall", before=before, overall=overall)
            )
            return
        compressed = plan.bits_per_treated_weight
        show(
            tr("{compressed:.2f} compressed · {overall:.2f} overall", compressed=compressed, overall=overall),
            tr(
                "{compressed:.2f} bits in compressed layers · {before:.4g} → {overall:.2f} overall",
                compressed=compressed,
                before=before,
                overall=overall,
            ),
        )

    def _show_quality(self, run: RunSummary | None) -> None:
        if run is not None and run.kl_mean is not None:
            more = [tr("99th percentile {kl_p99}", kl_p99=kl_text(run.kl_p99))] if run.kl_p99 is not None else []
            if run.perplexity is not None and run.perplexity_before is not None:
                more.append(
                    tr(
                        "Perplexity {perplexity_before:.3f} → {perplexity:.3f}",
                        perplexity_before=run.perplexity_before,
                        perplexity=run.perplexity,
                    )
                )
            if run.top1_agreement is not None:
                more.append(
                    tr("Same first choice for {top1_agreement:.1%} of the tokens", top1_agreement=run.top1_agreement)
                )
            self.quality.show_measured(
                tr(
                    "{quality} · KL {kl_mean}",
                    quality=tr(quality_word(run.kl_mean)),
                    kl_mean=kl_text(run.kl_mean),
                ),
                "\n".join(more),
            )
            self.quality.meter.show_kl(run.kl_mean)
            return
        estimated = self._session.document.predicted_kl
        if estimated is not None:
            between = tr(
                "Estimated from sensitivities: {low} to {high}",
                low=kl_text(estimated.low),
                high=kl_text(estimated.high),
            )
            self.quality.show_forecast(
                tr(
                    "{quality} · KL ≈ {kl}",
                    quality=tr(quality_word(estimated.value)),
                    kl=kl_text(estimated.value),
                ),
                between,
            )
            self.quality.meter.show_kl(estimated.value)
            return
        self.quality.meter.show_kl(None)
        if run is not None:
            self.quality.show_nothing(tr("Not measured yet: Run ▸ Evaluate compares the run with the original."))
        else:
            self.quality.show_nothing(tr("Estimated where a budget made the recipe; measured with Run ▸ Evaluate."))

    def _show_decode(self, run: RunSummary | None) -> None:
        document = self._session.document
        latency = self._latencies.get(run.run) if run is not None else None
        conditions = document.conditions
        measured = run is not None and bool(run.decode_ms) and conditions.are_default
        if run is not None and run.decode_ms and measured:
            gain = f" ×{run.speed_up:.2f}" if run.speed_up else ""
            self.decode.show_measured(
                tr("{decode_ms:.0f} tok/s{gain}", decode_ms=1000 / run.decode_ms, gain=gain),
                tr("{decode_ms:.2f} ms per token", decode_ms=run.decode_ms),
            )
        if latency is not None:
            self.memory.show_measured(byte_text(latency.timing.weight_bytes))
        elif run is not None and run.decode_ms and run.peak_rss_bytes:
            self.memory.show_nothing(
                tr(
                    "Peak of the whole process while evaluating: {peak_rss_bytes}",
                    peak_rss_bytes=byte_text(run.peak_rss_bytes),
                )
            )
        forecast = self._forecast
        path = document.checkpoint.path if document.checkpoint is not None else ""
        current = forecast is not None and self._forecast_of == (path, document.recipe.digest, conditions)
        if measured:
            if latency is None and forecast is not None and current:
                self.memory.show_forecast(f"≈{byte_text(forecast.weight_bytes_after)}")
            return
        if forecast is None or not current:
            why = self._no_forecast or tr(
                "Forecast it with the button beside, or measure it with Run ▸ Measure latency."
            )
            self.decode.show_nothing(why)
            self.memory.show_nothing(why)
            return
        self._show_forecast(forecast)

    def _show_forecast(self, forecast: LatencyForecast) -> None:
        after, tokens = forecast.after_ms, 1000 * forecast.batch
        speed = tokens / after.value if after.value else 0.0
        lines = [_range_in_words(forecast, self._session.document.conditions)]
        before, first = forecast.prefill_before_ms, forecast.prefill_after_ms
        if before is not None and first is not None:
            lines.append(
                tr(
                    "Reading {prompt:,} tokens of each: ≈{before} → ≈{first}",
                    prompt=forecast.prompt,
                    before=_ms(before),
                    first=_ms(first),
                )
            )
        lines += [tr("Falls back: {name}", name=name) for name in forecast.fallbacks[:5]]
        self.decode.show_forecast(
            tr("≈{speed:.0f} tok/s ×{value:.2f}", speed=speed, value=forecast.speed_up.value), "\n".join(lines)
        )
        self.memory.show_forecast(f"≈{byte_text(forecast.weight_bytes_after)}")

    def _show_runtime(self) -> None:
        """Does the chosen runtime load what the recipe makes, and does anything fall back there?"""
        key, checked = self._session.document.runtime, self.live_check.checked
        self.runtime.setVisible(bool(key))
        if not key:
            return
        self.runtime.set_title(RUNTIMES[key].title)
        if checked is None:
            self.runtime.show_nothing(tr("Checked a moment after each edit, once the recipe treats something."))
            return
        falling, told = self.live_check.falling_back, "\n".join(tr(finding.title) for finding in checked.findings)
        if not checked.loads:
            self.runtime.show_planned(tr("does not load"), told)
        else:
            self.runtime.show_planned(
                tr("loads · {falling} fall back", falling=falling) if falling else tr("loads · no fallback"), told
            )

    def _forecast_unasked(self) -> None:
        document = self._session.document
        checkpoint = document.checkpoint
        if checkpoint is None or document.totals.nbytes > SMALL_BYTES or not self.can_forecast():
            return
        if self._session.jobs.busy or not document.plan_is_current or checkpoint.quantization is not None:
            return
        asked = (checkpoint.path, document.recipe.digest, document.conditions)
        if self._forecast_of != asked:
            self._forecast_of = asked
            self._ask_forecast(asked_for=False)

    def _on_latency(self, _: int, latency: Latency, __: MeasureLatency) -> None:
        if latency.source.startswith("run:"):
            self._latencies[latency.source.removeprefix("run:")] = latency
            self._session.document.refresh_runs()
            self.refresh()


def _range_in_words(forecast: LatencyForecast, conditions: Conditions) -> str:
    """Where the speed is expected to lie, of what, and whose."""
    after, tokens = forecast.after_ms, 1000 * forecast.batch
    whose = tr("{machine} (another machine)", machine=forecast.machine) if forecast.other_machine else forecast.machine
    if after.low <= 0 or after.high <= 0:
        return tr("For {words} on {whose}", words=conditions.words, whose=whose)
    slowest, fastest = tokens / after.high, tokens / after.low
    return tr(
        "Probably {slowest:.0f} to {fastest:.0f} tok/s on {whose}, for {words}",
        slowest=slowest,
        fastest=fastest,
        whose=whose,
        words=conditions.words,
    )


def _ms(estimate: Estimate) -> str:
    return tr("{value:.3g} ms", value=estimate.value)


def _shortened(words: str) -> str:
    return words if len(words) <= _MAX_OF_NAME else f"{words[: _MAX_OF_NAME - 1].rstrip()}…"
