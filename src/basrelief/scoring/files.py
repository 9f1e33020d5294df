"""What an evaluation and a comparison leave in a folder: a document, a line an image, and a page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from basrelief.errors import OutputError
from basrelief.files import json_text, text_writer, write_together
from basrelief.metrics import higher_is_better, is_in_unit, metric_spec
from basrelief.report import MetricFacts, render_comparison, render_evaluation
from basrelief.scoring.comparison import Comparison
from basrelief.scoring.evaluation import Evaluation

IMAGES = "images.parquet"
PAGES = {"evaluation.json": "report.html", "comparison.json": "compare.html"}


def check_out(folder: Path, name: str, *, overwrite: bool) -> Path:
    """Return the folder, or raise OutputError where files that would be written are there already."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir():
        raise OutputError(f"--out {folder}: {there} is a file. Choose a folder.")
    if not os.access(there, os.W_OK):  # said now, not when all is computed
        raise OutputError(f"--out {folder}: {there} cannot be written. Choose another folder.")
    old = [file for file in (name, IMAGES, PAGES[name]) if (folder / file).exists()]
    if old and not overwrite:
        raise OutputError(f"{folder} holds {', '.join(old)} already. Choose another --out, or add --overwrite.")
    return folder


def write_evaluation(folder: Path, document: Mapping[str, Any], found: Evaluation, run: Mapping[str, Any]) -> None:
    """Write ``evaluation.json``, ``images.parquet`` and ``report.html``: all of them, or on a full disk none."""
    facts = metric_facts(list(document["metrics"]), str(document["depth_unit"]), tuple(run["classes"]))
    page = render_evaluation(document, facts, found.pictures, repeat=repeat_command())
    _write(folder, "evaluation.json", document, page, found.images)


def write_comparison(folder: Path, document: Mapping[str, Any], found: Comparison) -> None:
    """Write ``comparison.json``, ``images.parquet`` and ``compare.html``: all of them, or on a full disk none."""
    classes = tuple(found.pictures.classes) if found.pictures is not None else ()
    facts = metric_facts(list(document["metrics"]), str(document["depth_unit"]), classes)
    metric = document["metric"]
    scores = [found.images[f"{side}/{metric}"].to_list() for side in ("a", "b")]
    pairs = [pair for pair in zip(*scores, strict=True) if None not in pair]
    page = render_comparison(document, facts, pairs, found.pictures, repeat=repeat_command())
    _write(folder, "comparison.json", document, page, found.images)


def metric_facts(names: Sequence[str], unit: str, classes: Sequence[str]) -> list[MetricFacts]:
    """Return how metrics are to be read."""
    found = []
    for name in names:
        spec = metric_spec(name, classes) if len(classes) > 1 or name.count("/") < 2 else None
        meaning = spec.meaning if spec is not None else ""
        main = spec is not None and spec.main
        found.append(MetricFacts(name, higher_is_better(name), unit if is_in_unit(name) else "", meaning, main))
    return found


def repeat_command() -> str:
    """Return the command line that this process was started with, where it is one of ours; else ""."""
    import sys

    words = sys.argv[1:]
    return shlex.join(["basrelief", *words]) if words[:1] in (["evaluate"], ["compare"]) else ""


def _write(folder: Path, name: str, document: Mapping[str, Any], page: str, table: pl.DataFrame) -> None:
    files = {
        folder / IMAGES: table.write_parquet,
        folder / PAGES[name]: text_writer(page),
        folder / name: text_writer(json_text(document)),
    }
    write_together(files, sweep=True)
