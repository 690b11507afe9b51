"""`benchvise evaluate`: perplexity, and the divergence from an original."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_against, add_source, add_text, add_windows, add_workspace
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import pairs
from benchvise.core.protocol.requests import Evaluate
from benchvise.core.protocol.results import Evaluation
from benchvise.core.text import byte_text, duration_text, number_text

_COMPARED = (
    "kl_mean", "kl_p99", "top1_agreement", "against",
    "perplexity_against", "weight_bytes_against", "peak_rss_bytes_against", "cosine", "relative_error",
)  # fmt: skip


def _add_arguments(parser: ArgumentParser) -> None:
    add_source(parser)
    add_against(parser)
    add_text(parser)
    add_windows(parser, windows=48, window_tokens=256)
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = Evaluate(
        source=arguments.path,
        text=arguments.text,
        against=arguments.against,
        windows=arguments.windows,
        window_tokens=arguments.window_tokens,
        workspace=arguments.workspace,
    )
    evaluation = carry_out(request, Evaluation, arguments)
    data = fields_of(evaluation)
    if not arguments.against:
        data = {key: value for key, value in data.items() if key not in _COMPARED}
    return Reply(data, _lines(evaluation))


def _lines(evaluation: Evaluation) -> Iterator[str]:
    rows = []
    if evaluation.perplexity is not None:
        rows.append(("perplexity", number_text(evaluation.perplexity, 6)))
    if evaluation.perplexity_against is not None:
        rows.append(("perplexity of the original", number_text(evaluation.perplexity_against, 6)))
    if evaluation.cosine is not None:
        rows += [
            ("cosine to the original's outputs", number_text(evaluation.cosine, 6)),
            ("relative error of the outputs", number_text(evaluation.relative_error)),
        ]
    if evaluation.kl_mean is not None:
        agreement = evaluation.top1_agreement
        rows += [
            ("KL divergence, mean", f"{number_text(evaluation.kl_mean)} nats/token"),
            ("KL divergence, 99th percentile", f"{number_text(evaluation.kl_p99)} nats/token"),
            ("same most likely token", "—" if agreement is None else f"{agreement:.2%}"),
        ]
    rows += [
        ("tokens", f"{evaluation.tokens:,}"),
        ("weights", _both(evaluation.weight_bytes, evaluation.weight_bytes_against)),
        ("peak memory while judged", _both(evaluation.peak_rss_bytes, evaluation.peak_rss_bytes_against)),
        ("time", duration_text(evaluation.seconds)),
    ]
    yield from pairs(rows)


def _both(byte_count: int, original: int | None) -> str:
    return byte_text(byte_count) + ("" if original is None else f" (original {byte_text(original)})")


EVALUATE = Subcommand(
    "evaluate",
    "perplexity on a text, and the divergence from an original; encoders by their outputs",
    _add_arguments,
    _run,
)
