"""The report of a study that is there, in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from basrelief.errors import DataError, UsageError
from basrelief.files import read_json, write_atomic, write_text
from basrelief.folders import only_writer
from basrelief.studies.results import collect
from basrelief.studies.stored import reopen
from basrelief.studies.verdict import write_results

REPORTS = {  # what a report can be written as, and into which file of the study
    "html": "report.html",
    "markdown": "report.md",
    "md": "report.md",
    "pdf": "report.pdf",
    "png": "report.png",
    "badge": "badge.png",
    "json": "verdict.json",
}


def report(folder: str | Path, *, to: str = "html") -> dict[str, Any]:
    """Write verdict, scores and report of a study from what its trials left, and return the verdict.

    ``to`` is "html" (``report.html``), "markdown" or "md" (``report.md``), "pdf" (``report.pdf``, printed by a browser
    that is on this machine), "png" (``report.png``, some pictures with every loss's prediction), "badge"
    (``badge.png``, the outcome on one line, for a README) or "json" (the verdict alone).

    Raises
    ------
    UsageError
        For a kind that is not known.
    DataError
        When the folder holds no study.
    OutputError
        When a PDF is asked for and no browser is there.
    """
    from basrelief.report import find_browser, print_pdf, render_badge, render_markdown, render_sheet, render_study
    from basrelief.studies.report import study_contents

    if to not in REPORTS:
        raise UsageError(f"--to {to!r} is not known: use {', '.join(REPORTS)}.")
    if to == "pdf":
        find_browser()  # before anything is read
    folder = Path(folder)
    if not (folder / "plan.json").exists():
        raise DataError(f"{folder} holds no study (there is no plan.json). Expected what basrelief study left.")
    if read_json(folder / "plan.json").get("kind") != "study":
        raise DataError(
            f"{folder} holds no study: its plan.json is that of a single run (see basrelief evaluate) or range test."
        )
    prepared = reopen(folder)
    results = collect(folder, prepared)
    with only_writer(folder):
        verdict = write_results(folder, results)
    path = folder / REPORTS[to]
    if to != "json":
        contents = study_contents(folder, prepared, results, verdict)
        if to in ("png", "badge"):
            picture = (render_sheet if to == "png" else render_badge)(contents)
            write_atomic(path, lambda temporary: temporary.write_bytes(picture))
        elif to == "pdf":
            page = render_study(contents)
            write_atomic(path, lambda temporary: print_pdf(page, temporary))
        else:
            write_text(path, (render_study if to == "html" else render_markdown)(contents))
    return {**verdict, "out": str(folder), "written": str(path)}
