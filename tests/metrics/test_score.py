"""What holds for every metric of the table, and how scores of batches are put together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.errors import UsageError
from basrelief.metrics import METRICS, main_metrics, metrics_for, score_batch, summarise

BOTH = ("mask", "depth")
SIDE = 24
SINGLE = [name for name, spec in METRICS.items() if not spec.pooled]


def planes(count: int = 3, side: int = SIDE, classes: int = 1, known: float | None = None) -> dict[str, torch.Tensor]:
    made = {"mask": torch.rand(count, classes, side, side).round(), "depth": torch.rand(count, 1, side, side) + 0.01}
    for name in BOTH if known is not None else ():
        made[f"{name}_valid"] = torch.rand(count, 1, side, side) < known
    return made


def scored(
    preds: dict[str, torch.Tensor], targets: dict[str, torch.Tensor], **options: object
) -> dict[str, np.ndarray]:
    found = score_batch(preds, targets, **options)  # type: ignore[arg-type]
    return {name: values.double().numpy() for name, values in found.items()}


def test_every_metric_of_the_table_is_computed_in_its_order() -> None:
    truth = planes()
    assert list(summarise(scored(truth, truth))) == metrics_for(BOTH) == list(METRICS)


@pytest.mark.parametrize("name", SINGLE)
def test_a_perfect_prediction_is_the_best_there_is_and_noise_is_worse(name: str) -> None:
    truth = planes()
    best = 1 if METRICS[name].higher_is_better else 0
    assert scored(truth, truth, metrics=[name])[name] == pytest.approx([best] * 3, abs=1e-6)
    if "checkerboard" not in name:  # noise is no checkerboard
        noise = {"mask": torch.rand(3, 1, SIDE, SIDE), "depth": torch.rand(3, 1, SIDE, SIDE)}
        worse = scored(noise, truth, metrics=[name])[name]
        assert (worse < best if METRICS[name].higher_is_better else worse > best).all()


@pytest.mark.parametrize("name", SINGLE)
def test_what_is_predicted_where_nothing_is_known_does_not_matter(name: str) -> None:
    truth, preds = planes(known=0.8), planes()
    other = {t: torch.where(truth[f"{t}_valid"], preds[t], 1 - preds[t]) for t in BOTH}
    hidden = {t: truth[t].masked_fill(~truth[f"{t}_valid"], float("nan")) for t in BOTH}
    one = scored(preds, truth | hidden, metrics=[name])[name]
    assert np.isfinite(one).all()
    assert scored(other, truth, metrics=[name])[name] == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("kind", ["empty", "full", "pixel"])
@pytest.mark.parametrize("pred", [0.0, 1.0], ids=["nothing", "everything"])
def test_extremes_give_a_score_or_nothing_but_never_infinity(kind: str, pred: float) -> None:
    target = torch.full((1, 1, SIDE, SIDE), float(kind == "full"))
    if kind == "pixel":
        target[..., 5, 6] = 1
    guess = torch.full_like(target, pred)
    summary = summarise(scored({"mask": guess, "depth": guess}, {"mask": target, "depth": target}))
    for name, value in summary.items():
        if value is None:
            assert kind == "empty", name  # a depth of 0 everywhere has no ratios
        else:
            assert np.isfinite(value), name


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_summaries_do_not_depend_on_how_images_are_batched(sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(sum(sizes))
    count = sum(sizes)
    preds = {
        "mask": torch.rand(count, 2, 12, 12, generator=generator),
        "depth": torch.rand(count, 1, 12, 12, generator=generator),
    }
    targets = {"mask": preds["mask"].flip(0).round(), "depth": preds["depth"].flip(0)}
    whole = scored(preds, targets, classes=("a", "b"), align=("median",))
    cuts = [
        dict(zip(preds, parts, strict=True)) for parts in zip(*(v.split(sizes) for v in preds.values()), strict=True)
    ]
    truths = [
        dict(zip(targets, parts, strict=True))
        for parts in zip(*(v.split(sizes) for v in targets.values()), strict=True)
    ]
    parts = [scored(p, t, classes=("a", "b"), align=("median",)) for p, t in zip(cuts, truths, strict=True)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in whole}
    assert summarise(joined, ("a", "b")) == pytest.approx(summarise(whole, ("a", "b")), abs=1e-6)


@pytest.mark.parametrize(
    ("side", "missing"),
    [(3, {"checkerboard", "ssim", "ms_ssim"}), (10, {"ssim", "ms_ssim"}), (20, {"ms_ssim"}), (21, set())],
)
def test_metrics_that_an_image_is_too_small_for_are_left_out(side: int, missing: set[str]) -> None:
    truth = planes(side=side)
    left_out = {name.split("/")[1] for name in METRICS} - {n.split("/")[1] for n in summarise(scored(truth, truth))}
    assert left_out == missing
    assert metrics_for(BOTH, side=side) == [n for n in METRICS if n.split("/")[1] not in missing]


def test_only_what_is_asked_for_is_computed_with_its_pooled_form() -> None:
    truth = planes(classes=2)
    asked = ["mask/iou/b", "depth/rmse@median", "mask/ssim"]
    summary = summarise(scored(truth, truth, classes=("a", "b"), metrics=asked), ("a", "b"))
    classes = {"mask/iou", "mask/iou_pooled", "mask/iou/a", "mask/iou/b"}
    assert set(summary) == classes | {"mask/ssim", "depth/rmse@median", "depth/rmse_pooled@median"}


def test_the_main_metrics_are_few_and_hold_the_one_that_decides() -> None:
    names = main_metrics(BOTH, "depth/silog@median")
    assert names[-1] == "depth/silog@median"
    assert len(names) < 10
    assert main_metrics(("mask",), "mask/iou").count("mask/iou") == 1


def test_sums_of_large_images_are_exact() -> None:
    # 2^24 + 2^12 pixels: past what float32 counts.
    target = torch.ones(1, 1, 4096, 4097)
    pred = target.clone()
    pred[..., 0, 0] = 0
    found = scored({"mask": pred}, {"mask": target}, metrics=["mask/accuracy"])
    assert found["mask/accuracy"].item() == 1 - 1 / (4096 * 4097)


def test_an_unknown_alignment_is_named_with_the_nearest_one() -> None:
    truth = planes()
    with pytest.raises(UsageError, match="Did you mean 'median'"):
        score_batch(truth, truth, align=("medain",))


def test_a_prediction_of_a_network_that_diverged_reaches_the_one_who_looks_for_it() -> None:
    truth = planes()
    lost = {name: torch.full_like(plane, float("nan")) for name, plane in truth.items()}
    assert np.isnan(scored(lost, truth)["mask/soft_dice"]).all()
