"""A race stops what can no longer win, says what it saved, and ends the same however often it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import basrelief as br
from basrelief.app import Quiet
from basrelief.errors import UsageError
from basrelief.studies.extend import extend_plan
from basrelief.studies.status import study_status
from support import write_folder

# A loss that moves away from the masks, and one that learns them.
SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 12, "batch_size": 4, "precision": "fp32", "lr": 3e-3, "ema": 0,
    "jobs": 1, "seeds": 6, "losses": ("good = bce(mask)", "bad = 0.001*bce(mask) - dice(mask)"), "tracker": ("none",),
}  # fmt: skip


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("race")
    discs = write_folder(root / "discs", 24)
    br.study(discs, out=root / "s", race=True, **SMALL)
    return discs, root / "s"


def test_a_hopeless_loss_is_stopped_and_the_verdict_names_the_winner(raced: tuple[Path, Path]) -> None:
    _, out = raced
    verdict = json.loads((out / "verdict.json").read_text())
    race = verdict["race"]
    assert verdict["winner"] == "good"
    assert [row["name"] for row in race["dropped"]] == ["bad"]
    assert race["over"]
    assert race["trainings"] == len(list(out.glob("trials/*/*/run.json"))) < race["of"] == 12
    assert race["saved"] == pytest.approx(1 - race["trainings"] / 12)
    assert verdict["pairs"][0]["decision"] == "a"
    assert not any("are there" in warning for warning in verdict["warnings"]), "a race that is over lacks nothing"


def test_a_race_that_is_stopped_drops_the_same_after_the_same_seeds(raced: tuple[Path, Path], tmp_path: Path) -> None:
    discs, out = raced
    other = tmp_path / "s"

    class Stop(BaseException):
        pass

    class Stopping(Quiet):
        def trial(self, number: int, total: int, trial: Any, outcome: str) -> None:
            if trial.seed == 2 and outcome.startswith("finished"):
                raise Stop

    with pytest.raises(Stop):
        br.study(discs, out=other, race=True, watcher=Stopping(), **SMALL)
    assert study_status(other)["counts"]["waiting"]
    br.study(discs, out=other, race=True, **SMALL)
    assert (other / "verdict.json").read_bytes() == (out / "verdict.json").read_bytes()
    assert (other / "race.json").read_bytes() == (out / "race.json").read_bytes()


def test_the_status_of_a_race_tells_dropped_from_waiting(raced: tuple[Path, Path]) -> None:
    status = study_status(raced[1])
    race = json.loads((raced[1] / "race.json").read_text())
    assert status["counts"]["finished"] == race["trainings"]
    assert status["counts"]["dropped"] == 12 - race["trainings"]
    assert status["next"] is None


def test_a_race_takes_no_further_seeds_and_needs_two_losses(raced: tuple[Path, Path], tmp_path: Path) -> None:
    discs, out = raced
    with pytest.raises(UsageError, match="spends its chances"):
        extend_plan(out, seeds=1)
    with pytest.raises(UsageError, match="two at least"):
        br.study(discs, out=tmp_path / "s", race=True, **SMALL | {"losses": ("bce(mask)",)})


def test_a_race_of_so_few_seeds_that_it_saves_none_is_refused(discs: Path, tmp_path: Path) -> None:
    for seeds in (1, 2, 3):
        with pytest.raises(UsageError, match=f"of {seeds} it saves none. Give --seeds 4"):
            br.study(discs, out=tmp_path / "s", race=True, **SMALL | {"seeds": seeds})


def test_the_trials_of_a_race_are_counted_through_and_the_pace_is_said_once(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("basrelief.studies.run.look", lambda *_: None)  # nothing is dropped
    counted: list[tuple[int, int]] = []
    said: list[str] = []

    class Counting(Quiet):
        def say(self, text: str) -> None:
            said.append(text)

        def trial(self, number: int, total: int, trial: Any, outcome: str) -> None:
            if outcome != "training":
                counted.append((number, total))

    for jobs in (1, 2):
        counted.clear()
        said.clear()
        more = {"seeds": 5, "epochs": 1, "losses": ("bce(mask)", "dice(mask)"), "jobs": jobs, "threads": 1}
        br.study(discs, out=tmp_path / f"s{jobs}", race=True, watcher=Counting(), **SMALL | more)
        assert counted == [(number, 10) for number in range(1, 11)]
        assert sum("At that pace" in text for text in said) == 1
