"""The time of a study: equal for every loss, or so many minutes in all; planned once, stored, and kept to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import basrelief as br
from basrelief.app import Quiet
from basrelief.errors import UsageError
from basrelief.studies import budget, clock, rehearse
from basrelief.studies.budget import describe_equal_time
from basrelief.studies.clock import StudyClock
from basrelief.studies.costs import Cost, equal_time_epochs, makespan, seed_seconds, seeds_a_block
from basrelief.studies.plan import Trial

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "batch_size": 4, "precision": "fp32", "lr": 1e-3, "tracker": "none",
}  # fmt: skip
TWO = ("bce(mask)", "dice(mask)")
Costs = Callable[..., None]


class Listener(Quiet):
    """Keeps what is said, and stops where a test wants."""

    def __init__(self, stop_at: int = 0) -> None:
        self.said: list[str] = []
        self.trained: list[tuple[str, int]] = []
        self.stop_at = stop_at

    def say(self, text: str) -> None:
        self.said.append(text)

    def trial(self, number: int, total: int, trial: Trial, outcome: str) -> None:
        if outcome == "training":
            self.trained.append((trial.name, trial.seed))
            if len(self.trained) == self.stop_at:
                raise KeyboardInterrupt


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Costs:
    """Let measuring find these seconds of training an epoch, in the order of the losses, and 1 s for the rest."""

    def put(*train: float) -> None:
        def found(_: Path, trials: Mapping[str, Any], *__: Any) -> dict[str, Cost]:
            return {name: Cost(0.5, own, 0.0, 0.5, 10) for name, own in zip(trials, train, strict=True)}

        monkeypatch.setattr(budget, "measure_costs", found)
        monkeypatch.setattr(budget.Budget, "spent", lambda self: 10.0)

    return put


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the clock go on by so many seconds with every trial."""

    def put(seconds: float) -> None:
        monkeypatch.setattr(
            StudyClock, "spent", lambda self: 10 + seconds * len(list(self.folder.glob("trials/*/*/run.json")))
        )
        monkeypatch.setattr(StudyClock, "_seed_seconds", lambda self, plan, notes: 2 * seconds)

    return put


def plan_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "plan.json").read_text()))


def test_equal_time_gives_the_cheapest_loss_the_epochs_asked_for_and_rounds_the_others() -> None:
    assert equal_time_epochs({"a": 1.0, "b": 2.5, "c": 1.03, "d": 400.0}, 12) == {"a": 12, "b": 5, "c": 12, "d": 1}


@given(
    st.dictionaries(st.sampled_from("abcde"), st.floats(1e-4, 1e4), min_size=1),
    st.integers(1, 200),
)
@settings(max_examples=50, deadline=None)
def test_equal_time_is_equal_to_half_an_epoch_and_never_more_epochs_than_asked_for(
    seconds: dict[str, float], epochs: int
) -> None:
    found = equal_time_epochs(seconds, epochs)
    shared = epochs * min(seconds.values())
    assert max(found.values()) == epochs
    for name, own in found.items():
        assert own >= 1
        assert own == 1 or abs(own * seconds[name] - shared) <= seconds[name] * 0.5001


def test_equal_time_is_said_and_says_where_it_cannot_be() -> None:
    assert describe_equal_time({"a": 1.0, "b": 2.5}, {"a": 12, "b": 5}) == "Equal time, in epochs: a 12, b 5."
    assert "12 epochs each" in describe_equal_time({"a": 1.0, "b": 1.01}, {"a": 12, "b": 12})
    assert "A single epoch of b" in describe_equal_time({"a": 1.0, "b": 30}, {"a": 12, "b": 1})
    assert "A single epoch of b" in describe_equal_time({"a": 1.0, "b": 30}, {"a": 1, "b": 1})


@pytest.mark.parametrize(
    ("seconds", "jobs", "expected"), [([3, 3, 3], 1, 9), ([3, 3, 3], 2, 6), ([1, 1, 4], 2, 5), ([4, 1, 1], 3, 4)]
)
def test_trials_side_by_side_take_as_long_as_the_job_that_ends_last(
    seconds: list[float], jobs: int, expected: float
) -> None:
    assert makespan(seconds, jobs) == expected


@pytest.mark.parametrize(("trials", "jobs", "expected"), [(3, 1, 1), (3, 2, 2), (4, 2, 1), (3, 4, 4), (2, 8, 4)])
def test_a_block_of_seeds_keeps_all_jobs_busy(trials: int, jobs: int, expected: int) -> None:
    assert seeds_a_block(trials, jobs) == expected


def test_two_jobs_halve_the_time_of_a_seed_though_its_trials_are_odd() -> None:
    costs = dict.fromkeys("abc", Cost(1, 2, 0, 1, 10))
    epochs = dict.fromkeys("abc", 4)
    assert seed_seconds(costs, epochs) == 30
    assert seed_seconds(costs, epochs, jobs=2) == 15
    assert seed_seconds(costs, epochs, folds=2) == 60


def test_equal_time_is_measured_once_stored_and_trained(discs: Path, tmp_path: Path, costs: Costs) -> None:
    costs(1.0, 2.0)
    options: dict[str, Any] = {**SMALL, "losses": TWO, "epochs": 4, "seeds": 1, "budget": "time", "schedule": "cosine"}
    heard, out = Listener(), tmp_path / "s"
    br.study(discs, out=out, watcher=heard, **options)
    assert "Equal time, in epochs: bce(mask) 4, dice(mask) 2." in heard.said
    assert plan_of(out)["plan"]["changes"] == {"bce(mask)": {"epochs": 4}, "dice(mask)": {"epochs": 2}}
    for number, epochs in enumerate((4, 2)):
        run = json.loads(next(out.glob(f"trials/{number:02d}-*/seed-0/run.json")).read_text())
        assert run["settings"]["epochs"] == len(run["curve"]) == epochs, "a schedule follows the loss's own epochs"
    costs(5.0, 1.0)  # which nobody looks at any more
    again = Listener()
    br.study(discs, out=out, watcher=again, **options)
    assert not again.trained


def test_equal_time_of_networks_keeps_what_else_differs(discs: Path, tmp_path: Path, costs: Costs) -> None:
    costs(3.0, 1.0)
    options = {**SMALL, "network": ("masknet", "relief"), "losses": ("bce(mask)",), "vary": "network"}
    br.study(discs, out=tmp_path / "s", epochs=3, seeds=1, budget="time", **options)
    changes = plan_of(tmp_path / "s")["plan"]["changes"]
    assert [(name, own["network"], own["epochs"]) for name, own in changes.items()] == [
        ("masknet", "masknet", 1),
        ("relief", "relief", 3),
    ]


@pytest.mark.parametrize("option", [{"minutes": 1}, {"budget": "time"}])
def test_stages_fix_the_epochs_so_a_time_is_refused(discs: Path, tmp_path: Path, option: dict[str, Any]) -> None:
    options = {**SMALL, "resolution": "16:4x1,32:4x1", "batch_size": None}
    with pytest.raises(UsageError, match="in stages"):
        br.study(discs, out=tmp_path / "s", losses=TWO, **options, **option)


@pytest.mark.parametrize(
    ("minutes", "train", "given", "expected"),
    [
        (1.0, 0.01, {"losses": TWO}, (2, 10, 120)),  # time for everything: three times the 40 epochs, 10 seeds
        (1.0, 0.2, {"losses": TWO}, (2, 5, 17)),  # 40 s for 10 trials
        (1.0, 0.2, {}, (3, 4, 13)),  # 5 seeds of 10 epochs take 0.3 seconds too many
        (1.0, 0.5, {}, (2, 3, 13)),  # then seeds, then a loss
        (1.0, 0.2, {"losses": TWO, "epochs": 20}, (2, 4, 20)),
        (1.0, 0.2, {"losses": TWO, "seeds": 2}, (2, 2, 52)),
        (1.0, 0.2, {"losses": TWO, "seeds": 2, "epochs": 4}, (2, 2, 4)),
    ],
)
def test_what_is_open_is_planned_for_the_minutes_and_what_is_given_stays(
    discs: Path,
    tmp_path: Path,
    costs: Costs,
    monkeypatch: pytest.MonkeyPatch,
    minutes: float,
    train: float,
    given: dict[str, Any],
    expected: tuple[int, int, int],
) -> None:
    costs(*([train] * len(given.get("losses", "abc"))))
    monkeypatch.setattr("basrelief.studies.run._run", lambda folder, prepared, *rest: prepared)
    monkeypatch.setattr("basrelief.app.report", lambda folder: {})
    out, heard = tmp_path / "s", Listener()
    br.study(discs, out=out, watcher=heard, minutes=minutes, **SMALL, **given)
    plan = plan_of(out)
    found = plan["plan"]
    assert (len(found["losses"]), len(found["seeds"]), found["train"]["epochs"]) == expected
    assert plan["clock"]["planned_seconds"] <= 60 * minutes
    assert plan["asked"]["seeds"] == given.get("seeds")
    assert [sentence for sentence in heard.said if sentence.startswith("Time:")]
    assert not any(sentence.startswith("Epochs:") for sentence in found["said"]), "the ideal, which does not hold"
    listed = [sentence for sentence in found["said"] if sentence.startswith("Losses:")]
    assert all(f"{'; '.join(found['losses'])}" in sentence for sentence in listed)


@pytest.mark.parametrize(
    ("train", "given", "says"),
    [
        (
            2.0,
            {},
            "The smallest study that says anything (2 losses x 3 seeds x 10 epochs at 16x16) takes some 2.3 minutes",
        ),
        (1.0, {"losses": TWO, "epochs": 30}, "less with --epochs, or leave it open.*fit 2 losses x 3 seeds x 6 epochs"),
        (1.0, {"losses": TWO, "seeds": 9, "epochs": 30}, "What was asked for .*less with --seeds or --epochs"),
    ],
)
def test_what_cannot_fit_is_refused_before_any_training(
    discs: Path, tmp_path: Path, costs: Costs, train: float, given: dict[str, Any], says: str
) -> None:
    costs(*([train] * len(given.get("losses", "abc"))))
    options = {**SMALL, "resolution": None} if not given else SMALL
    says = says.replace("16x16", "48x64").replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(UsageError, match=says):
        br.study(discs, out=tmp_path / "s", minutes=1, **options, **given)
    assert not (tmp_path / "s" / "plan.json").exists()
    assert not (tmp_path / "s" / "trials").exists()


def test_what_is_only_a_little_too_long_is_begun_and_said(discs: Path, tmp_path: Path, costs: Costs) -> None:
    costs(23.0, 23.0)
    heard = Listener(stop_at=1)
    with pytest.raises(KeyboardInterrupt):
        br.study(discs, out=tmp_path / "s", minutes=1, losses=TWO, seeds=1, epochs=1, watcher=heard, **SMALL)
    assert any("a little more than the 1 asked for" in sentence for sentence in heard.said)


@pytest.mark.parametrize(("seconds", "seeds"), [(2.0, 10), (5.0, 5), (7.0, 3), (20.0, 3)])
def test_a_study_faster_or_slower_than_planned_changes_its_seeds_and_stores_that(
    discs: Path, tmp_path: Path, costs: Costs, paced: Callable[[float], None], seconds: float, seeds: int
) -> None:
    """Five seeds of two trials are planned, each of 4 seconds."""
    costs(3.0, 3.0)
    paced(seconds)
    out, heard = tmp_path / "s", Listener()
    options: dict[str, Any] = {"minutes": 1, "losses": TWO, "epochs": 1, **SMALL}
    verdict = br.study(discs, out=out, watcher=heard, **options)
    assert len(heard.trained) == 2 * seeds
    assert plan_of(out)["plan"]["seeds"] == list(range(seeds))
    assert {row["seeds"] for row in verdict["losses"]} == {seeds}
    changed = [sentence for sentence in heard.said if "Scores had no say" in sentence]
    assert bool(changed) == (seeds != 5)
    assert all(sentence in plan_of(out)["plan"]["said"] for sentence in changed)
    assert any("fewer seeds would say too little" in sentence for sentence in heard.said) == (seconds == 20)
    again = Listener()
    br.study(discs, out=out, watcher=again, **options)
    assert not again.trained, "the same command finds it done"
    assert plan_of(out)["plan"]["seeds"] == list(range(seeds))


def test_seeds_that_were_given_are_kept_by_a_clock_that_is_late(
    discs: Path, tmp_path: Path, costs: Costs, paced: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs(3.0, 3.0)
    paced(20)
    heard = Listener()
    br.study(discs, out=tmp_path / "s", minutes=1, losses=TWO, seeds=4, epochs=1, watcher=heard, **SMALL)
    assert len(heard.trained) == 8
    assert any("seeds were given, so none is dropped" in sentence for sentence in heard.said)


def test_seeds_added_by_hand_are_not_dropped_by_the_clock(
    discs: Path, tmp_path: Path, costs: Costs, paced: Callable[[float], None]
) -> None:
    costs(3.0, 3.0)
    paced(7)
    out = tmp_path / "s"
    br.study(discs, out=out, minutes=1, losses=TWO, epochs=1, **SMALL)
    br.study(out, add_seeds=2)
    assert plan_of(out)["plan"]["seeds"] == [0, 1, 2, 3, 4]


def test_a_study_that_was_stopped_counts_what_it_spent_and_trains_nothing_twice(
    discs: Path, tmp_path: Path, costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs(3.0, 3.0)
    now = [1000.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    out, first = tmp_path / "s", Listener(stop_at=4)
    options: dict[str, Any] = {"minutes": 1, "losses": TWO, "epochs": 1, **SMALL}
    with pytest.raises(KeyboardInterrupt):
        br.study(discs, out=out, watcher=first, **options)
    noted = plan_of(out)["clock"]
    assert noted["trials"] == 2
    finished = [json.loads(path.read_text()) for path in out.glob("trials/*/*/run.json")]
    unnoted = max(run["seconds"] for run in finished)
    before = StudyClock(out, 1000.0).spent()
    assert noted["seconds"] < before <= noted["seconds"] + unnoted
    second = Listener()
    br.study(discs, out=out, watcher=second, **options)
    assert first.trained[3] == second.trained[0]
    assert not set(first.trained[:3]) & set(second.trained)
    assert len(first.trained[:3]) + len(second.trained) == 2 * len(plan_of(out)["plan"]["seeds"])


def test_a_real_study_measures_fits_finishes_and_is_found_again(discs: Path, tmp_path: Path) -> None:
    out, heard = tmp_path / "s", Listener()
    options: dict[str, Any] = {"minutes": 0.5, "losses": TWO, "epochs": 1, **SMALL}
    br.study(discs, out=out, watcher=heard, **options)
    plan = plan_of(out)
    assert 3 <= len(plan["plan"]["seeds"]) <= 10
    assert len(heard.trained) == 2 * len(plan["plan"]["seeds"])
    assert not (out / rehearse.FOLDER).exists()
    br.study(discs, out=out, watcher=heard, **options)
    assert plan_of(out)["plan"] == plan["plan"]
    assert len(heard.trained) == 2 * len(plan["plan"]["seeds"])


def test_measuring_leaves_the_trainings_their_bits(discs: Path, tmp_path: Path) -> None:
    """Trainings with a budget of time equal those without, where both come to the same epochs."""
    runs = []
    for name, kind in (("plain", "steps"), ("timed", "time")):
        options: dict[str, Any] = {**SMALL, "losses": ("bce(mask)",), "epochs": 2, "seeds": 1, "budget": kind}
        br.study(discs, out=tmp_path / name, **options)
        runs.append((next((tmp_path / name).glob("trials/*/*")) / "best.safetensors").read_bytes())
    assert runs[0] == runs[1]
