"""The documentation as a site: it builds without a warning, needs no network, and its notebook runs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import basrelief
from basrelief import statistics
from basrelief.losses import LOSSES
from basrelief.metrics import METRICS

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    """Return a script of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = load("pages").PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_those_that_the_tables_make(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "python docs/pages.py writes it anew"


def test_every_loss_and_metric_has_a_picture_and_no_picture_is_left_over() -> None:
    named = {f"loss-{name}" for name in LOSSES}
    named |= {name.replace("/", "-") for name, spec in METRICS.items() if not spec.pooled}
    pictures = list((ROOT / "docs" / "pictures").iterdir())
    assert {picture.stem for picture in pictures} == named
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip(
        "mkdocstrings", reason="the site is built with mkdocs-material and mkdocstrings, of the extra dev"
    )
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return folder


def test_the_site_builds_without_a_warning_and_has_a_page_for_every_file(site: Path) -> None:
    pages = {str(page.relative_to(site).with_suffix("")) for page in site.rglob("*.html")}
    written = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in (ROOT / "docs").rglob("*.md")}
    assert written <= pages
    assert "repository/CONTRIBUTING" in pages
    assert "repository/examples/onnx_consumer.py" in pages  # a page links to it, and a site has only pages


def test_the_site_asks_no_network_for_anything(site: Path) -> None:
    fetched = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^\"'> ]+")
    for page in site.rglob("*.html"):
        found = [one for one in fetched.findall(page.read_text()) if 'rel="canonical"' not in one]
        assert not found, f"{page.relative_to(site)}: {found}"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?(?:https?:)?//|@import", sheet.read_text()), sheet.relative_to(site)


def test_the_reference_has_every_public_name_and_every_loss(site: Path) -> None:
    reference = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    for name in basrelief._HOMES:
        assert f'id="{getattr(basrelief, name).__module__}.{name}"' in reference, name
    for spec in LOSSES.values():
        assert f'id="{spec.function.__module__}.{spec.function.__name__}"' in reference
    missing = [
        name for name in statistics.__all__ if callable(getattr(statistics, name)) and f'.{name}"' not in reference
    ]
    assert missing in ([], ["Decision"])


def test_the_notebook_is_kept_without_what_it_shows_and_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="the notebook is run with nbclient, of the extra dev")
    nbclient = pytest.importorskip("nbclient", reason="the notebook is run with nbclient, of the extra dev")
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {cell.id: "".join(str(output) for output in cell.outputs) for cell in cells}
    assert "60" in shown["inspect"]
    assert "bce(mask)" in shown["pair"]
    assert "report.html" in shown["report"]
    assert "(160, 200)" in shown["predict"]
    assert "image/png" in shown["show"]
