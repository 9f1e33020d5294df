"""What a training does when its numbers go wrong."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from basrelief.data.source import DataOptions
from basrelief.data.splits import Split, split_store
from basrelief.data.store import Store
from basrelief.engine.records import MAX_SKIPPED, RunningTerms
from basrelief.engine.train import train_run
from basrelief.errors import TrainingError
from basrelief.inference.load import load, load_run
from basrelief.losses.expression import parse_loss
from basrelief.losses.loss import LossValue
from training import plan, weights


@pytest.fixture(scope="module")
def split(scenes_store: Store) -> Split:
    return split_store(scenes_store.index, DataOptions())


LABELS = {"activation": {"mask": "identity"}, "mask_values": (255.0,)}
WRITE_UP_D = {"network": "munet(blocks=8)", "batch_size": 4, "optimizer": "sgd", "momentum": 0.9, "epochs": 4, **LABELS}


def test_write_up_ds_mse_on_label_values_ends_in_nan_and_says_where(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    """The squares of label values up to 255 make gradients that SGD does not survive; the write-up's run gave NaN."""
    with pytest.raises(TrainingError) as caught:
        train_run(tmp_path, plan("mse(mask)", lr=1e-2, **WRITE_UP_D), scenes_store, split)
    said = str(caught.value)
    assert "no longer finite at step" in said
    assert "mse(mask) = " in said
    assert "norm of the gradient" in said
    assert "in the steps before" in said
    assert any(scenes_store.index["id"][int(row)] in said for row in split.rows["train"])
    assert "--lr" in said
    assert "--clip" in said


def test_clipping_the_gradient_saves_such_a_run(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    run = train_run(tmp_path, plan("mse(mask)", lr=1e-2, clip=1.0, **WRITE_UP_D), scenes_store, split)
    assert all(math.isfinite(value) for value in run["metrics"].values() if value is not None)


def test_a_head_that_regresses_label_values_counts_pixels_above_half_the_value(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    run = train_run(tmp_path, plan("l1(mask)", lr=1e-3, epochs=2, **LABELS), scenes_store, split)
    assert run["metrics"]["mask/iou"] is not None
    model = load_run(tmp_path)[1]
    picture = np.full((32, 32, 3), 90, np.uint8)
    inputs = torch.full((1, 3, 32, 32), 90 / 255)
    with torch.no_grad():
        given = model(inputs, inputs)["mask"]
        model.mask_values = None
        raw = model(inputs, inputs)["mask"]
    assert torch.allclose(raw / 255, given)
    model.regress_labels((255.0,))  # type: ignore[operator]
    assert np.array_equal(load(tmp_path).predictor(picture, picture).mask, (raw[0, 0] > 127.5).numpy())


def test_the_loss_of_a_head_that_regresses_labels_is_on_their_scale(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    from training import history

    for name, value in (("small", 1.0), ("large", 100.0)):
        settings = {**LABELS, "mask_values": (value,), "epochs": 1, "lr": 1e-9}
        train_run(tmp_path / name, plan("mse(mask)", **settings), scenes_store, split)
    # At the start the network gives values near 0, so that the truth's square rules.
    small, large = (history(tmp_path / name)["train/loss"][0] for name in ("small", "large"))
    assert large > 100 * small


def numbers(loss: str, skips: bool) -> RunningTerms:
    return RunningTerms(parse_loss(loss), skips)


def value(number: float) -> LossValue:
    return LossValue(torch.tensor(number), {"bce(mask)": torch.tensor(number)}, {"bce(mask)": torch.tensor(1.0)})


def test_a_scaler_may_skip_steps_which_are_counted_and_not_averaged() -> None:
    terms = numbers("bce(mask)", skips=True)
    for step, (number, norm) in enumerate([(1.0, 2.0), (5.0, math.inf), (math.nan, 1.0), (3.0, 2.0)]):
        terms.add(step, np.array([0]), terms.row([(value(number), 4)], torch.tensor(norm), wish=False))
    found, _ = terms.check(["a"])
    assert [step for step, _ in found] == [0, 3]
    assert terms.skipped == 2
    assert terms.means()["train/loss"] == 2


def test_a_scaler_that_skips_on_and_on_is_an_error() -> None:
    terms = numbers("bce(mask)", skips=True)
    for step in range(MAX_SKIPPED + 1):
        terms.add(step, np.array([0]), terms.row([(value(1.0), 1)], torch.tensor(math.inf), wish=False))
    with pytest.raises(TrainingError, match="gradient of the loss"):
        terms.check(["a"])


def test_the_mean_of_parts_weighs_them_by_their_images() -> None:
    terms = numbers("bce(mask)", skips=False)
    terms.add(1, np.array([0]), terms.row([(value(1.0), 3), (value(5.0), 1)], torch.tensor(1.0), wish=True))
    found, wish = terms.check(["a"])
    assert found[0][1]["train/loss"] == 2
    assert wish


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(
    scenes_store: Store, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basrelief.config import WatchSettings
    from basrelief.engine import train

    calls = 0
    norm = train.gradient_norm

    def broken(model: torch.nn.Module) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return torch.tensor(math.nan) if calls == 3 else norm(model)

    monkeypatch.setattr(train, "gradient_norm", broken)
    with pytest.raises(TrainingError, match=r"gradient of the loss.*step 3.*It broke in the gradient"):
        train_run(tmp_path, plan(), scenes_store, split, watch=WatchSettings(checkpoint_every=0))
    assert all(value.isfinite().all() for value in weights(tmp_path, "last").values())
