"""The report as a PDF: printed by a browser, or a sentence that says what to install."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from basrelief.errors import OutputError
from basrelief.report import StudyContents, pdf, print_pdf, render_study
from chromium import CHROMIUM

Study = Callable[..., StudyContents]


@pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium")
def test_a_page_is_printed_on_several_sheets(full: Study, tmp_path: Path) -> None:
    print_pdf(render_study(full(2, side=16, count=2, epochs=3)), tmp_path / "report.pdf")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 1


def test_without_a_browser_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pdf, "ELSEWHERE", (str(tmp_path / "Chrome"),))
    with pytest.raises(OutputError, match="Install one, such as the package chromium"):
        pdf.find_browser()
    program = tmp_path / "google-chrome"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert pdf.find_browser() == program


def test_a_browser_that_prints_nothing_is_named_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho 'no display' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(OutputError, match=r"did not print the page \(no display\)"):
        print_pdf("<p>", tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()


def test_a_sandbox_is_given_up_only_where_the_browser_refuses_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "chromium"
    program.write_text(
        '#!/bin/sh\necho "$1" >> "$(dirname "$0")/asked"\nfor one in "$@"; do case "$one" in\n'
        '--no-sandbox) free=1 ;; --print-to-pdf=*) to="${one#*=}" ;; esac; done\n'
        '[ -n "$free" ] && echo "%PDF" > "$to"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(pdf, "_is_root", lambda: False)
    print_pdf("<p>", tmp_path / "report.pdf")
    assert (tmp_path / "asked").read_text().split() == ["--headless", "--no-sandbox"]
    assert (tmp_path / "report.pdf").read_text() == "%PDF\n"
