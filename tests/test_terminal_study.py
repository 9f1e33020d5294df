"""What a terminal shows of trainings in other processes, and what a log file gets instead."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from basrelief import terminal_study
from basrelief.studies.plan import Trial
from basrelief.studies.watcher import Running

TRIALS = [Trial(f"a[{n}]", "bce(mask)", n, f"trials/00-a/seed-{n}") for n in range(9)]


def progress(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, height: int = 24) -> terminal_study.StudyProgress:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, height=height, soft_wrap=True)
    monkeypatch.setattr(terminal_study, "_err", console)
    return terminal_study.StudyProgress()


def drawn(shown: terminal_study.StudyProgress) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    console.print(shown._progress.get_renderable())
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_each_training_has_a_line_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress(monkeypatch, terminal=True) as shown:
        shown.trial(0, 9, TRIALS[0], "training")
        shown.trial(1, 9, TRIALS[0], "failed")
        shown.running([Running(TRIALS[1], 3, 6, 0.8125, 312.4), Running(TRIALS[2], 0, 6)], 190.0)
        whole, first, second = drawn(shown)
        assert whole.endswith("1/9 1 failed, 2 at once, 3 min left")
        assert first.startswith("a[1], seed 1 ")
        assert first.endswith("3/6 epochs, val 0.812, 312 images/s")
        assert second.endswith("0/6 epochs")
        shown.running([], None)
        assert len(drawn(shown)) == 1


def test_more_trainings_than_lines_leave_the_terminal_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress(monkeypatch, terminal=True, height=8) as shown:
        shown.trial(0, 9, TRIALS[0], "training")
        shown.running([Running(trial, 1, 6) for trial in TRIALS], None)
        assert len(drawn(shown)) == 5
        assert "9 at once" in drawn(shown)[0]


def test_a_log_file_gets_a_line_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress(monkeypatch, terminal=False) as shown:
        shown.trial(0, 9, TRIALS[3], "training")
        shown.running([Running(TRIALS[3], 1, 6, 0.5, 10.0)], 60.0)
        shown.trial(1, 9, TRIALS[3], "finished, best epoch 1, mask/iou 0.500 on val")
    file = terminal_study._err.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue() == "· [1/9] a[3], seed 3: finished, best epoch 1, mask/iou 0.500 on val\n"


def test_trainings_that_try_a_rate_are_shown_without_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Trial("bce(mask) at 0.001", "bce(mask)", 1670608005, "search/00-bce/lr-0.001", judged=False)
    with progress(monkeypatch, terminal=True) as shown:
        shown.trial(1, 3, short, "training")
        shown.begin("bce(mask), seed 1670608005", "mask/iou", 9, 0)
        assert drawn(shown)[-1].startswith("bce(mask) at 0.001 ")
        shown.trial(1, 3, short, "finished")
    file = terminal_study._err.file
    assert isinstance(file, io.StringIO)
    assert "1670608005" not in file.getvalue()
