from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import basrelief as br
from basrelief.data.loader import Loader
from basrelief.engine.evaluate import activate, forward
from basrelief.engine.thresholds import THRESHOLDS, choose_thresholds
from basrelief.files import read_json
from basrelief.functional.thresholds import grid, iou_by_threshold
from basrelief.inference.load import load_run
from basrelief.metrics import score_batch
from basrelief.studies.stored import reopen
from support import write_folder


def by_hand(pred: np.ndarray, target: np.ndarray, threshold: float) -> float:
    """IoU of one mask, both empty: 1."""
    hard = pred > np.float32(threshold)
    union = (hard | (target > 0)).sum()
    return float((hard & (target > 0)).sum() / union) if union else 1.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 3), classes=st.integers(1, 3), partly=st.booleans())
def test_all_thresholds_at_once_are_each_as_alone(seed: int, images: int, classes: int, partly: bool) -> None:
    rng = np.random.default_rng(seed)
    # Many probabilities stand exactly on a threshold, where > and >= differ.
    pred = rng.choice([0.0, 0.25, 0.3, 0.5, 0.75, 0.97, 1.0], (images, classes, 5, 4)).astype(np.float32)
    target = (rng.random(pred.shape) < rng.choice([0.0, 0.4])).astype(np.float32)
    valid = rng.random((images, 1, 5, 4)) < 0.7 if partly else np.ones((images, 1, 5, 4), bool)
    thresholds = grid(5, 95, 5)
    found = iou_by_threshold(
        torch.from_numpy(pred),
        torch.from_numpy(target),
        torch.from_numpy(valid) if partly else None,
        thresholds=thresholds,
    )
    assert found.shape == (images, classes, len(thresholds))
    for n in range(images):
        for k in range(classes):
            known = valid[n, 0]
            for place, threshold in enumerate(thresholds):
                value = float(found[n, k, place])
                if not known.any():
                    assert math.isnan(value)
                else:
                    assert value == pytest.approx(by_hand(pred[n, k][known], target[n, k][known], threshold), abs=1e-12)


def test_at_each_threshold_it_is_the_metric_itself() -> None:
    rng = np.random.default_rng(0)
    pred, target = torch.from_numpy(rng.random((4, 2, 9, 9), np.float32)), torch.rand(4, 2, 9, 9).round()
    target[1] = 0
    for place, threshold in enumerate(THRESHOLDS):
        metric = score_batch(
            {"mask": pred}, {"mask": target}, classes=("x", "y"), mask_threshold=threshold, metrics=["mask/iou"]
        )
        found = iou_by_threshold(pred, target, thresholds=THRESHOLDS)[:, :, place]
        assert torch.allclose(torch.stack([metric["mask/iou/x"], metric["mask/iou/y"]], 1).double(), found)


def test_a_threshold_for_each_class_is_that_of_its_class() -> None:
    pred, target = torch.rand(3, 2, 8, 8), torch.rand(3, 2, 8, 8).round()
    names = ["mask/iou"]
    both = score_batch({"mask": pred}, {"mask": target}, classes=("x", "y"), mask_threshold=[0.2, 0.7], metrics=names)
    for name, threshold in (("x", 0.2), ("y", 0.7)):
        alone = score_batch(
            {"mask": pred}, {"mask": target}, classes=("x", "y"), mask_threshold=threshold, metrics=names
        )
        assert torch.equal(both[f"mask/iou/{name}"], alone[f"mask/iou/{name}"])


def test_of_equal_ones_the_nearest_to_a_half_is_taken() -> None:
    means = np.full(len(THRESHOLDS), 0.2)
    means[[9, 58, 79]] = 0.8  # 0.10, 0.59, 0.80
    means[58] -= 1e-13  # rounding must not decide
    found = choose_thresholds(3 * means[None], np.full((1, len(THRESHOLDS)), 3))
    assert found == {"best": [0.59], "score": [pytest.approx(0.8)], "at_half": [pytest.approx(0.2)]}
    means[[9, 58, 79]] = 0.2
    means[[39, 59]] = 0.8  # 0.40 and 0.60, equally near
    assert choose_thresholds(means[None], np.ones((1, len(THRESHOLDS))))["best"] == [0.4]
    flat = choose_thresholds(np.ones((1, len(THRESHOLDS))), np.ones((1, len(THRESHOLDS))))
    assert flat == {"best": [0.5], "score": [1.0], "at_half": [1.0]}


def test_a_class_without_a_known_pixel_keeps_a_half() -> None:
    found = choose_thresholds(np.zeros((1, len(THRESHOLDS))), np.zeros((1, len(THRESHOLDS))))
    assert found == {"best": [0.5], "score": [None], "at_half": [None]}


def test_a_run_stores_what_brute_force_finds_on_its_validation_images(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 20)
    br.train(data, out=tmp_path / "run", loss="dice(mask)", network="masknet", resolution=16, epochs=2, lr=3e-3,
             precision="fp32")  # fmt: skip
    run, model = load_run(tmp_path / "run")
    prepared = reopen(tmp_path / "run")
    loader = Loader(prepared.store, prepared.split.rows["val"], 64, torch.device("cpu"), targets=["mask"],
                    background=False)  # fmt: skip
    _, batch = next(loader.in_order())
    with torch.no_grad():
        pred = activate(forward(model, batch), run["activations"])["mask"].numpy()
    assert batch.mask is not None
    truth = batch.mask.numpy()
    means = [np.mean([by_hand(p[0], t[0], at) for p, t in zip(pred, truth, strict=True)]) for at in THRESHOLDS]
    stored = run["thresholds"]
    assert stored["score"] == [pytest.approx(max(means), abs=1e-6)]
    assert stored["at_half"] == [pytest.approx(means[49], abs=1e-6)]
    assert stored["at_half"] == [pytest.approx(run["val_metrics"]["mask/iou"], abs=1e-6)]
    assert means[THRESHOLDS.index(stored["best"][0])] == pytest.approx(max(means), abs=1e-6)
    assert br.load_predictor(tmp_path / "run", threshold="best").thresholds == tuple(stored["best"])


def test_depth_alone_has_no_thresholds(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", depths=True)
    br.train(data, out=tmp_path / "run", loss="rmse(depth)", network="resunet", resolution=16, epochs=1,
             depth_scale=0.001)  # fmt: skip
    assert read_json(tmp_path / "run" / "run.json")["thresholds"] is None
