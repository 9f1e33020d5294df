"""The options of ``basrelief train`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from basrelief import app
from basrelief.config import RunSettings, TrainSettings, checked
from basrelief.data.store import open_store
from basrelief.errors import BasreliefError, OutOfMemoryError, UsageError
from training import same, weights

ALL_OF_IT = "image_stem,background_stem,fuse,body,mask_head,norms"
QUICK = {"network": "masknet", "loss": "bce(mask)", "precision": "fp32", "device": "cpu"}


def test_stages_train_at_one_resolution_after_the_other(tmp_path: Path) -> None:
    """Write-up B's form, smaller: the last stage is the run's resolution and alone chooses the checkpoint."""
    run = app.train("scenes:24", out=tmp_path / "run", resolution="16:8x2,24x32:4x1,32:5x2", **QUICK)
    assert run["resolution"] == [32, 32]
    assert run["best_epoch"] in (4, 5)
    history = pl.read_csv(tmp_path / "run" / "history.csv")
    assert history.select("height", "width").rows() == [(16, 16), (16, 16), (24, 32), (32, 32), (32, 32)]
    assert history["step"].to_list() == [2, 4, 8, 12, 16]  # 16 training samples in batches of 8, 4 and 5
    whole, small = open_store(tmp_path / "run" / "data"), open_store(tmp_path / "run" / "data-smaller" / "16x16")
    assert small.index["id"].equals(whole.index["id"])
    assert small.facts.depth_max == whole.facts.depth_max
    with pytest.raises(BasreliefError, match="holds another"):
        app.train("scenes:24", out=tmp_path / "run", resolution="16:8x2,32:5x2", **QUICK)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resolution": "64:512"}, "expected stages RESOLUTION:BATCHxEPOCHS"),
        ({"resolution": "64:512x0"}, "expected 1 or more"),
        ({"resolution": "4:512x3"}, "--resolution 4: expected 8 or more"),
        ({"stages": [{"resolution": (64, 64), "batch_size": 8, "epochs": 3}]}, "Stages are given as the resolution"),
        ({"resolution": "64:8x3,128:8x3", "epochs": 5}, "leave --epochs out"),
        ({"resolution": "64:8x3", "batch_size": 5}, "leave --batch-size out"),
        ({"ema": 1.0}, "--ema 1.0: expected less than 1"),
        ({"clip": 0.0}, "--clip 0.0: expected more than 0"),
        ({"accumulate": 0}, "--accumulate 0: expected 1 or more"),
        ({"mask_values": "50,-1"}, "--mask-values"),
        ({"lr": "fast"}, "or the word search"),
    ],
)
def test_a_wrong_setting_is_named_with_its_option(given: dict, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(TrainSettings, given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schedule": "cosinus"}, "Did you mean 'cosine'?"),
        ({"freeze": "encoder"}, "has no part that is an encoder alone"),
        ({"freeze": "steam"}, "has no part 'steam'"),
        ({"freeze": ALL_OF_IT}, "Nothing is left to train"),
        ({"freeze": ALL_OF_IT, "loss": "uncertainty(bce(mask) + dice(mask))"}, "Nothing is left to train"),
        ({"weights": "imagenet"}, "no such run or file, and masknet has no pretrained weights by name"),
        ({"mask_values": "255"}, "give --activation mask=identity"),
        ({"mask_values": "50,100", "activation": "mask=identity", "loss": "mse(mask)"}, "2 label values for 1 classes"),
        ({"tracker": "tensorbored"}, "tensorboard"),
        ({"tracker": ","}, "--tracker ','"),
        ({"tracker": "none,tensorboard"}, "Give one or the other"),
        ({"accumulate": 9, "batch_size": 8}, "cannot be divided into 9 parts"),
        ({"precision": "fp16"}, "needs a CUDA GPU"),
        ({"processes": 20}, "cannot be divided into 20 parts"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_trained(tmp_path: Path, given: dict, said: str) -> None:
    with pytest.raises(BasreliefError) as caught:
        app.train("scenes:24", out=tmp_path / "run", resolution=16, epochs=1, **{**QUICK, **given})
    assert said in str(caught.value)
    assert not (tmp_path / "run" / "run.json").exists()
    assert not (tmp_path / "run" / "plan.json").exists(), "the corrected command may use the folder"


def test_memory_that_runs_out_is_explained_for_the_stage_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("basrelief.engine.train.forward", full)
    with pytest.raises(OutOfMemoryError, match="16x16 in batches of 8") as caught:
        app.train("scenes:24", out=tmp_path / "run", resolution="16:8x1,32:4x1", **QUICK)
    assert "16x16:7 for this stage in --resolution" in str(caught.value)
    assert "--batch-size" not in str(caught.value)


def test_a_loss_that_a_later_stage_is_too_small_for_is_refused_before_packing(tmp_path: Path) -> None:
    asked = {**QUICK, "loss": "ssim(mask)", "resolution": "32:8x1,8:8x1,32:8x1"}
    with pytest.raises(UsageError, match="on this data at 8x8"):
        app.train("scenes:24", out=tmp_path / "run", **asked)
    assert not (tmp_path / "run" / "data").exists()


def test_stopping_early_is_recorded_and_the_best_is_kept(tmp_path: Path) -> None:
    # At this rate nothing changes after the first epoch, so no later one is better.
    run = app.train("scenes:24", out=tmp_path / "run", resolution=16, epochs=9, patience=2, lr=1e-12, **QUICK)
    assert run["stopped_early"]
    assert len(run["curve"]) == 3
    assert run["best_epoch"] == 1
    again = app.train("scenes:24", out=tmp_path / "run", resolution=16, epochs=9, patience=2, lr=1e-12, **QUICK)
    assert again["curve"] == run["curve"]


def test_another_heads_network_starts_from_a_run_with_its_encoder_frozen(tmp_path: Path) -> None:
    common = {**QUICK, "network": "depthmasknet", "resolution": 16, "epochs": 1}
    app.train("scenes:24", out=tmp_path / "first", **common)
    asked = {**common, "loss": "l1(depth)", "weights": str(tmp_path / "first"), "freeze": "encoder,norms"}
    app.train("scenes:24", out=tmp_path / "second", **asked)
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    encoder = {name: value for name, value in second.items() if "decoder" not in name and "final" not in name}
    shared = {name: value for name, value in encoder.items() if name in first}
    assert len(shared) > 10
    assert same({name: first[name] for name in shared}, shared)


def test_options_that_change_no_bit_may_change_when_a_run_goes_on(tmp_path: Path) -> None:
    common = {**QUICK, "resolution": 16, "epochs": 1}
    first = app.train("scenes:24", out=tmp_path / "run", tracker="none", checkpoint_every=5, **common)
    again = app.train("scenes:24", out=tmp_path / "run", workers=1, log_every=7, **common)
    assert again == first
    assert not (tmp_path / "run" / "tensorboard").exists()
    asked = json.loads((tmp_path / "run" / "plan.json").read_text())["asked"]
    assert "watch" not in asked
    assert RunSettings(**asked).watch.checkpoint_every == 60
