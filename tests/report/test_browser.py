"""The page in a real browser: its scripts ran, drew and sorted, without an error."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from basrelief.report import StudyContents, render_study

Study = Callable[..., StudyContents]
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium to run the page's scripts")


def load(page: str, folder: Path, address: str = "") -> str:
    """Return the page's document after its scripts have run."""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --disable-dev-shm-usage --virtual-time-budget=8000 --dump-dom"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={folder / 'profile'}", f"{path.as_uri()}{address}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def root_of(dom: str) -> str:
    found = re.search(r"<html[^>]*>", dom)
    assert found
    return found[0]


def assert_ready(dom: str) -> None:
    assert "data-errors" not in root_of(dom)
    assert 'data-ready="1"' in root_of(dom)


def shown_rows(dom: str) -> list[str]:
    rows = re.findall(r"<tr data-id=\"([^\"]*)\"([^>]*)>", dom)
    return [html.unescape(name) for name, rest in rows if not re.search(r"\bhidden\b", rest)]


def test_the_page_draws_one_plot_a_metric_and_reports_no_error(study: Study, tmp_path: Path) -> None:
    dom = load(render_study(study()), tmp_path)
    assert_ready(dom)
    assert len(re.findall(r'class="curve[^"]*js-plotly-plot', dom)) == 4
    # Three losses in four plots, each a band and a line.
    assert len(re.findall(r'<g class="trace scatter', dom)) == 24
    assert shown_rows(dom) == list(study().pictures.ids)  # type: ignore[union-attr]


def test_hostile_names_run_nothing(study: Study, tmp_path: Path) -> None:
    made = study(1, count=1, side=16, epochs=3)
    name = '<img src=x onerror="throw 1"><script>document.documentElement.dataset.errors = "ran"</script>'
    losses = [replace(made.losses[0], name=name, expression=name)]
    curves = [replace(curve, loss=name) for curve in made.curves]
    assert_ready(load(render_study(replace(made, title=name, losses=losses, curves=curves)), tmp_path))


def test_the_address_sorts_where_losses_disagree_and_limits_the_number(study: Study, tmp_path: Path) -> None:
    made = study(2, side=16, pictures=None)
    pictures = study(2, side=16).pictures
    assert pictures is not None
    first, second = pictures.predictions
    scores: dict[str, list[float | None]] = {
        first: [0.9, 0.5, 0.8, None, *[0.7] * 8],
        second: [0.8, 0.9, 0.2, 0.1, *[0.7] * 8],
    }
    page = render_study(replace(made, pictures=replace(pictures, scores=scores)))
    dom = load(page, tmp_path, "#sort=disagree&show=6&target=depth&size=160&outline=0")
    assert_ready(dom)
    ids = list(pictures.ids)
    assert shown_rows(dom) == [ids[n] for n in (2, 1, 0, 4, 5, 6)]
    wall = re.search(r"<table class=\"wall[^>]*>", dom)
    assert wall
    assert 'data-target="depth"' in wall[0]
    assert "--size: 160px" in wall[0]
    assert "outlined" not in wall[0]


@pytest.mark.parametrize(("classes", "worst"), [(1, [3, 1, 0, 2]), (0, [2, 0, 1, 3])])
def test_worst_first_follows_the_direction_of_the_metric(
    study: Study, tmp_path: Path, classes: int, worst: list[int]
) -> None:
    made = study(2, side=16, count=5, classes=classes, curves=())
    assert made.pictures is not None
    first, second = made.pictures.predictions
    scores = {first: [0.6, 0.3, 0.9, 0.1, None], second: [0.5] * 5}
    page = render_study(replace(made, pictures=replace(made.pictures, scores=scores)))
    dom = load(page, tmp_path, "#sort=worst:bce(mask)%20%2B%202*dice(mask)")
    assert_ready(dom)
    ids = list(made.pictures.ids)
    # The image without a score comes last whichever way the metric runs.
    assert shown_rows(dom) == [ids[n] for n in [*worst, 4]]
