"""The range test: deterministic, ended where it diverges, and without a trace in the training."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from basrelief.batch import Batch
from basrelief.config import TrainSettings
from basrelief.data.source import DataOptions
from basrelief.data.splits import Split, split_store
from basrelief.data.store import Store
from basrelief.engine.evaluate import forward
from basrelief.engine.lr_range import LrRange, lr_range
from basrelief.engine.machine import choose_machine
from basrelief.engine.run_plan import RunPlan
from basrelief.engine.train import train_run
from basrelief.errors import OutOfMemoryError, UsageError


@pytest.fixture(scope="module")
def split(scenes_store: Store) -> Split:
    return split_store(scenes_store.index, DataOptions())


def plan(
    loss: str = "bce(mask)", *, seed: int = 0, machine: tuple[str, str] = ("cpu", "fp32"), **given: Any
) -> RunPlan:
    known = {"network": "masknet(dropout=0.1)", "resolution": (32, 32), "epochs": 1, "batch_size": 6, "lr": 1e-3}
    settings = TrainSettings(**{**known, "metric": "mask/iou", **given})
    return RunPlan(settings, loss, seed, ("mask",), True, choose_machine(*machine))


def probe(store: Store, split: Split, asked: RunPlan, **options: Any) -> LrRange:
    return lr_range(asked, store, split, **{"steps": 20, "high": 10.0, **options})


def rows(found: LrRange) -> list[dict[str, Any]]:
    return list(found.rows())


def test_rates_grow_by_one_factor_from_the_lowest_to_the_highest(scenes_store: Store, split: Split) -> None:
    found = probe(scenes_store, split, plan(), low=1e-7, high=1e-4)
    rates = [row["lr"] for row in rows(found)]
    assert rates[0] == pytest.approx(1e-7)
    assert rates[-1] == pytest.approx(1e-4)
    assert [b / a for a, b in itertools.pairwise(rates)] == pytest.approx([1000 ** (1 / 19)] * 19)


def test_the_rate_of_every_step_is_the_one_trained_with(
    scenes_store: Store, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(
        "basrelief.engine.lr_range.build_optimizer", lambda model, loss, settings: Watched(model.parameters(), 1.0)
    )
    found = probe(scenes_store, split, plan(), high=1e-2)
    assert used == [row["lr"] for row in rows(found)]


def test_it_makes_the_runs_own_first_steps(
    scenes_store: Store, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def watching(model: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        if model.training:
            seen.append(batch.image.clone())
        return forward(model, batch)

    monkeypatch.setattr("basrelief.engine.train.forward", watching)
    monkeypatch.setattr("basrelief.engine.lr_range.forward", watching)
    asked = plan(epochs=2, augment="flip + brightness")
    train_run(tmp_path, asked, scenes_store, split)
    steps = len(seen)
    probe(scenes_store, split, asked, high=1e-3)
    assert steps >= 4
    assert all(torch.equal(a, b) for a, b in zip(seen[:steps], seen[steps:], strict=False))


def test_the_same_seed_gives_the_same_curve_and_another_one_another(scenes_store: Store, split: Split) -> None:
    asked = plan(augment="flip + noise")
    first = probe(scenes_store, split, asked, repeats=2)
    torch.rand(5)
    assert rows(probe(scenes_store, split, asked, repeats=2)) == rows(first)
    assert rows(probe(scenes_store, split, plan(seed=1, augment="flip + noise"))) != rows(first)
    one, two = first.tests
    assert one.seed == 0 != two.seed
    assert one.curve.losses[0] != two.curve.losses[0]
    assert rows(probe(scenes_store, split, asked)) == [row for row in rows(first) if row["repeat"] == 1]


@pytest.mark.parametrize("loss", ["bce(mask)", "balance(bce(mask) + dice(mask), batches=3)"])
def test_a_search_leaves_no_trace_in_the_training(scenes_store: Store, split: Split, tmp_path: Path, loss: str) -> None:
    asked = plan(loss)
    before = train_run(tmp_path / "before", asked, scenes_store, split)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    probe(scenes_store, split, asked)
    assert torch.equal(torch.rand(3), expected)
    after = train_run(tmp_path / "after", asked, scenes_store, split)
    assert after["initial_weights"] == before["initial_weights"]
    assert after["metrics"] == before["metrics"]


def test_a_loss_that_diverges_ends_the_test_early_and_is_no_error(scenes_store: Store, split: Split) -> None:
    asked = plan("mse(mask)", optimizer="sgd", activation={"mask": "identity"})
    found = probe(scenes_store, split, asked, high=1e4, steps=60)
    assert found.steps < 60
    assert found.tests[0].found.diverged_at is not None
    assert all(row["loss"] is None or math.isfinite(row["loss"]) for row in rows(found))
    assert found.suggestion is not None
    assert found.suggestion < found.tests[0].found.diverged_at


def test_one_that_diverges_from_the_first_step_suggests_nothing_and_says_why(scenes_store: Store, split: Split) -> None:
    asked = plan("mse(mask)", optimizer="sgd", activation={"mask": "identity"})
    found = probe(scenes_store, split, asked, low=1e25, high=1e30)
    assert found.suggestion is None
    assert "--lr-min" in found.reason
    assert found.document()["tests"][0]["lowest_at"] is None


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("loss", ["uncertainty(bce(mask) + dice(mask))", "300*mse(mask)"])
def test_losses_below_zero_and_of_great_scale_get_a_rate_that_learns(
    scenes_store: Store, split: Split, loss: str, optimizer: str
) -> None:
    found = probe(scenes_store, split, plan(loss, optimizer=optimizer), steps=40)
    assert found.suggestion is not None
    curve = found.tests[0].curve
    at_rate = next(row["loss"] for row in rows(found) if row["lr"] >= found.suggestion)
    assert at_rate < curve.start


def test_progress_counts_the_steps_of_all_tests(scenes_store: Store, split: Split) -> None:
    said: list[tuple[int, float]] = []
    probe(scenes_store, split, plan(), high=1e-4, repeats=2, progress=lambda done, loss: said.append((done, loss)))
    assert [done for done, _ in said] == list(range(1, 41))
    assert all(math.isfinite(loss) for _, loss in said)


def test_it_starts_from_the_weights_that_the_run_starts_from(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    train_run(tmp_path, plan(epochs=2, lr=5e-3), scenes_store, split)
    fresh = probe(scenes_store, split, plan(), high=1e-4)
    warm = probe(scenes_store, split, plan(weights=str(tmp_path)), high=1e-4)
    assert warm.tests[0].curve.start < fresh.tests[0].curve.start - 0.03


def test_bfloat16_is_tested_in_bfloat16(scenes_store: Store, split: Split) -> None:
    low = probe(scenes_store, split, plan(machine=("cpu", "bf16")), high=1e-4)
    assert rows(low) != rows(probe(scenes_store, split, plan(), high=1e-4))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"low": 1e-2, "high": 1e-3}, "--lr-min 0.01"),
        ({"low": 0.0}, "--lr-min"),
        ({"high": math.inf}, "--lr-max"),
        ({"steps": 5}, "--steps 5"),
        ({"repeats": 0}, "--repeats 0"),
    ],
)
def test_a_range_that_makes_no_test_is_refused(
    scenes_store: Store, split: Split, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        probe(scenes_store, split, plan(), **options)


def test_the_rate_in_the_plan_does_not_matter(scenes_store: Store, split: Split) -> None:
    asked = plan()
    other = dataclasses.replace(asked, settings=asked.settings.model_copy(update={"lr": "search", "epochs": 9}))
    assert rows(probe(scenes_store, split, other, high=1e-3)) == rows(probe(scenes_store, split, asked, high=1e-3))


def test_a_batch_is_computed_in_the_parts_that_training_computes_it_in(
    scenes_store: Store, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(model: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        seen.append(batch.size)
        return forward(model, batch)

    whole = probe(scenes_store, split, plan(freeze="norms", network="masknet"), high=1e-3)
    monkeypatch.setattr("basrelief.engine.lr_range.forward", counted)
    parts = probe(scenes_store, split, plan(freeze="norms", network="masknet", accumulate=2), high=1e-3)
    assert max(seen) == 3
    assert [row["loss"] for row in rows(parts)] == pytest.approx([row["loss"] for row in rows(whole)], rel=1e-3)


def test_memory_that_runs_out_is_explained(scenes_store: Store, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("basrelief.engine.lr_range.forward", full)
    with pytest.raises(OutOfMemoryError, match="Out of memory on cpu: masknet"):
        probe(scenes_store, split, plan())


def test_weights_that_are_learned_do_not_make_the_curve_fall(
    scenes_store: Store, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyTheLoss(torch.optim.SGD):
        """Leaves the network as it is, and lets the loss learn its weights."""

        def __init__(self, _model: torch.nn.Module, loss: torch.nn.Module, _settings: TrainSettings) -> None:
            super().__init__(loss.parameters(), 1.0)

    monkeypatch.setattr("basrelief.engine.lr_range.build_optimizer", OnlyTheLoss)
    found = probe(scenes_store, split, plan("uncertainty(bce(mask) + dice(mask))", network="masknet"), steps=30)
    assert found.suggestion is None, "nothing of the network was trained"
