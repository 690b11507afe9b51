"""A report of a run: facts gathered from the workspace, the checkpoint and the machine, and written in one file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchvise.core.errors import UserError
from benchvise.core.export.folder import check_output, output_place, write_file
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import MakeReport
from benchvise.core.protocol.results import Report, Reported
from benchvise.core.report.gather import gathered
from benchvise.core.report.html import as_html
from benchvise.core.report.markdown import as_markdown
from benchvise.core.settings import did_you_mean
from benchvise.core.workspace.workspace import Workspace


def as_json(report: Report) -> str:
    """The facts alone."""
    return json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"


FORMS = {"html": (as_html, ".html"), "json": (as_json, ".json"), "markdown": (as_markdown, ".md")}


def make_report(request: MakeReport, progress: Progress) -> Reported:
    """Gather the report of a finished run, and write it where the request says.

    Raises UserError for a run that is not finished, OutputError for a file that cannot be written, Cancelled.
    """
    if request.form not in FORMS:
        raise UserError(f"There is no form '{request.form}' of reports", remedy=did_you_mean(request.form, FORMS))
    run = Workspace(request.workspace).run(request.run)
    if run.state != "done":
        raise UserError(f"The run is not finished: {run.state}", where=run.id, remedy="Finish it with --resume.")
    write, suffix = FORMS[request.form]
    out = check_output(request.out, (Path(run.checkpoint_path),), suffix=suffix) if request.out else None
    report = gathered(run, request, progress)
    text = write(report)
    if out is not None:
        with output_place(out, single_file=True) as place:
            write_file(place, text)
    return Reported(report, text, str(out or ""))


def read_report(path: str) -> dict[str, object]:
    """The facts of a report that was written as HTML or JSON. Raises UserError where there are none."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
        if "<html" in text[:400]:
            text = text.partition('<script type="application/json" id="report">')[2].partition("</script>")[0]
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise _unread(path, str(error)) from error
    if not isinstance(found, dict) or not {"run", "recipe", "layers", "files"} <= found.keys():
        raise _unread(path, "it is no report of Benchvise")
    return found


def _unread(path: str, why: str) -> UserError:
    remedy = "Name a report that `benchvise report --out` wrote as .html or .json."
    return UserError(f"The report cannot be read: {why}", where=path, remedy=remedy)
