from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from basrelief.batch import Batch
from basrelief.data.source import DataOptions
from basrelief.data.splits import Split, split_store
from basrelief.data.store import Store
from basrelief.engine.evaluate import forward
from basrelief.engine.machine import choose_machine
from basrelief.engine.run_plan import build_model
from basrelief.engine.train import train_run
from basrelief.errors import DeviceError, OutputError, TrainingError, UsageError
from training import StopAfter, StopError, history, plan, same, weights


@pytest.fixture(scope="module")
def split(scenes_store: Store) -> Split:
    return split_store(scenes_store.index, DataOptions())


def test_a_run_learns_and_leaves_what_the_contract_names(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    run = train_run(tmp_path, plan(epochs=3, lr=3e-3), scenes_store, split)
    history = pl.read_csv(tmp_path / "history.csv")
    assert history["train/loss"][-1] < history["train/loss"][0]
    assert run == json.loads((tmp_path / "run.json").read_text())
    assert {"metrics", "images_per_second", "seconds", "parameters", "versions", "definitions"} <= run.keys()
    assert set(run["metrics"]) >= {"mask/iou", "mask/dice", "mask/iou_pooled", "mask/ssim"}
    scores = pl.read_parquet(tmp_path / "scores.parquet").filter(pl.col("split") == "test")
    assert len(scores) == len(split.rows["test"])
    assert scores["mask/iou"].mean() == pytest.approx(run["metrics"]["mask/iou"])
    assert list((tmp_path / "tensorboard").iterdir())
    assert (tmp_path / "best.json").exists()


def test_the_checkpoint_is_the_best_by_the_shared_metric(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    run = train_run(tmp_path, plan(epochs=4, lr=1e-2), scenes_store, split)
    assert run["best_epoch"] == int(np.argmax(run["curve"])) + 1
    assert run["val_metrics"]["mask/iou"] == pytest.approx(max(run["curve"]))


@pytest.mark.parametrize(
    "stop", [StopAfter(1), StopAfter(2), StopAfter(1, 2)], ids=["epoch 1", "epoch 2", "mid-epoch 2"]
)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_an_interrupted_run_ends_in_the_same_bits(
    scenes_store: Store, split: Split, tmp_path: Path, stop: StopAfter, optimizer: str
) -> None:
    settings = {"epochs": 3, "optimizer": optimizer, "schedule": "one-cycle", "augment": "flip + rotate + noise"}
    whole = train_run(tmp_path / "whole", plan(**settings), scenes_store, split)
    with pytest.raises(StopError):
        train_run(tmp_path / "cut", plan(**settings), scenes_store, split, watcher=StopAfter(stop.epochs, stop.steps))
    torch.rand(100)  # the global generator is elsewhere by now
    resumed = train_run(tmp_path / "cut", plan(**settings), scenes_store, split)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert same(weights(tmp_path / "whole", "last"), weights(tmp_path / "cut", "last"))
    assert history(tmp_path / "whole").equals(history(tmp_path / "cut"))
    assert resumed["metrics"] == whole["metrics"]


def test_trials_of_one_seed_see_the_same_augmented_batches(
    scenes_store: Store, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def watching(model: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        if model.training:
            seen.append(batch.image.clone())
        return forward(model, batch)

    monkeypatch.setattr("basrelief.engine.train.forward", watching)
    augment = "flip + scale + brightness + cutout"
    for number, (loss, seed, text) in enumerate(
        [("bce(mask)", 0, augment), ("dice(mask)", 0, augment), ("bce(mask)", 1, augment), ("bce(mask)", 0, "none")]
    ):
        train_run(tmp_path / str(number), plan(loss, seed=seed, epochs=1, augment=text), scenes_store, split)
    steps = len(seen) // 4
    bce, dice, other, plain = (seen[number * steps : (number + 1) * steps] for number in range(4))
    assert all(torch.equal(a, b) for a, b in zip(bce, dice, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(bce, other, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(bce, plain, strict=True))


@pytest.mark.parametrize("wrapper", ["balance", "uncertainty", "dwa"])
@pytest.mark.parametrize("stop", [StopAfter(2), StopAfter(1, 2)], ids=["epoch 2", "mid-epoch 2"])
def test_weights_that_a_wrapper_sets_are_resumed_to_the_bit(
    scenes_store: Store, split: Split, tmp_path: Path, wrapper: str, stop: StopAfter
) -> None:
    option = ", batches=3, every=4" if wrapper == "balance" else ""
    asked = plan(f"{wrapper}(bce(mask) + dice(mask){option})", epochs=4)
    whole = train_run(tmp_path / "whole", asked, scenes_store, split)
    with pytest.raises(StopError):
        train_run(tmp_path / "cut", asked, scenes_store, split, watcher=StopAfter(stop.epochs, stop.steps))
    resumed = train_run(tmp_path / "cut", asked, scenes_store, split)
    assert same(weights(tmp_path / "whole", "last"), weights(tmp_path / "cut", "last"))
    assert history(tmp_path / "whole").equals(history(tmp_path / "cut"))
    assert resumed["metrics"] == whole["metrics"]
    assert len(set(history(tmp_path / "whole")["weight/dice(mask)"].to_list())) > 1


def test_every_epoch_records_each_terms_value_weight_and_share_of_the_gradient(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    train_run(tmp_path, plan("3*bce(mask) + dice(mask)", epochs=2), scenes_store, split)
    record = history(tmp_path)
    assert record["weight/bce(mask)"].to_list() == [3, 3]
    total = 3 * record["train/bce(mask)"] + record["train/dice(mask)"]
    assert record["train/loss"].to_list() == pytest.approx(total.to_list())
    shares = record["share/bce(mask)"] + record["share/dice(mask)"]
    assert shares.to_list() == pytest.approx([1, 1])


def test_a_damaged_last_checkpoint_costs_time_but_no_bit(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    whole = train_run(tmp_path / "whole", plan(), scenes_store, split)
    with pytest.raises(StopError):
        train_run(tmp_path / "cut", plan(), scenes_store, split, watcher=StopAfter(1))
    last = tmp_path / "cut" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:5000])
    assert train_run(tmp_path / "cut", plan(), scenes_store, split)["metrics"] == whole["metrics"]


def test_a_finished_run_is_returned_untouched(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    first = train_run(tmp_path, plan(), scenes_store, split)
    before = (tmp_path / "best.safetensors").stat().st_mtime_ns
    assert train_run(tmp_path, plan(), scenes_store, split) == first
    assert (tmp_path / "best.safetensors").stat().st_mtime_ns == before


def test_another_run_is_never_overwritten(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    train_run(tmp_path, plan(), scenes_store, split)
    with pytest.raises(OutputError, match=r"another run.*loss"):
        train_run(tmp_path, plan("dice(mask)"), scenes_store, split)


def test_losses_of_one_seed_start_from_the_same_weights_and_other_seeds_do_not(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    def initial(loss: str, seed: int) -> str:
        name = f"{loss[:3]}{seed}"
        run = train_run(tmp_path / name, plan(loss, seed=seed, epochs=1), scenes_store, split)
        return str(run["initial_weights"])

    torch.rand(7)  # whatever was drawn before
    assert initial("bce(mask)", 0) == initial("dice(mask)", 0) != initial("bce(mask)", 1)


def test_initial_weights_leave_the_global_generator_alone(scenes_store: Store) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_model(plan(), scenes_store)
    assert torch.equal(torch.rand(1), expected)


def test_a_loss_that_is_no_longer_finite_stops_with_step_and_term(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    hopeless = plan("mse(mask) + bce(mask)", optimizer="sgd", lr=1e30, activation={"mask": "identity"})
    with pytest.raises(TrainingError, match=r"(?s)step \d+: mse\(mask\) = .*It broke in .*--lr"):
        train_run(tmp_path, hopeless, scenes_store, split)
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "running"
    assert not (tmp_path / "best.safetensors").exists()


def test_bfloat16_trains_with_losses_in_float32(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    run = train_run(tmp_path, plan(machine=("cpu", "bf16")), scenes_store, split)
    assert run["machine"]["precision"] == "bf16"
    assert weights(tmp_path)["mask_head.bias"].dtype == torch.float32


def test_starting_from_the_weights_of_another_run(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    train_run(tmp_path / "first", plan(epochs=3, lr=5e-3), scenes_store, split)
    run = train_run(tmp_path / "second", plan(epochs=1, lr=1e-9, weights=str(tmp_path / "first")), scenes_store, split)
    first = json.loads((tmp_path / "first" / "run.json").read_text())
    assert run["curve"][0] == pytest.approx(first["val_metrics"]["mask/iou"], abs=0.05)


def test_without_validation_images_the_last_epoch_is_kept(scenes_store: Store, tmp_path: Path) -> None:
    split = split_store(scenes_store.index, DataOptions(), "80/0/20")
    assert train_run(tmp_path, plan(), scenes_store, split)["best_epoch"] == 2


def test_a_device_that_is_not_there_is_an_error_and_no_silent_cpu() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA GPU"):
            choose_machine("cuda:1")
    with pytest.raises(UsageError, match="--device 'gpu'"):
        choose_machine("gpu")
    with pytest.raises(DeviceError, match="fp16"):
        choose_machine("cpu", "fp16")
    assert choose_machine("cpu", "fp32") == dataclasses.replace(choose_machine("cpu", "bf16"), precision="fp32")


def test_a_network_that_diverged_in_its_last_step_is_noticed(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no longer finite"):
        train_run(tmp_path, plan("bce(mask)", optimizer="sgd", lr=1e38, epochs=1, batch_size=100), scenes_store, split)
