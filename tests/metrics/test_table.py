from __future__ import annotations

import pytest

from basrelief.errors import UsageError
from basrelief.metrics import (
    METRICS,
    alignments_of,
    check_metric,
    higher_is_better,
    is_in_unit,
    is_pooled_name,
    metric_spec,
    pooled_name,
    unpooled_name,
)

BOTH = ("mask", "depth")
ERRORS = ("ece", "checkerboard", "rmse", "mae", "abs_rel", "sq_rel", "log10", "rmse_log", "silog")


@pytest.mark.parametrize("name", METRICS)
def test_a_line_says_what_it_is_and_which_way_is_better(name: str) -> None:
    spec = METRICS[name]
    assert spec.meaning.endswith(("mean.", "together."))
    assert spec.function.__doc__
    assert spec.pooled == name.endswith("_pooled")
    assert higher_is_better(name) == spec.higher_is_better == (name.split("/")[1].removesuffix("_pooled") not in ERRORS)
    assert is_in_unit(name) == (name.split("/")[1].removesuffix("_pooled") in ("rmse", "mae", "sq_rel"))


def test_the_names_of_the_contract_are_there() -> None:
    contract = {"mask/iou", "mask/dice", "mask/iou_pooled", "mask/dice_pooled", "mask/ssim", "depth/rmse", "depth/mae"}
    assert contract | {"depth/rmse_pooled", "depth/mae_pooled", "depth/delta1", "depth/ssim"} <= METRICS.keys()


def test_classes_and_alignments_follow_their_metric() -> None:
    assert higher_is_better("mask/iou/cat/dog")
    assert higher_is_better("mask/iou/a@b")
    assert "cat/dog" in metric_spec("mask/iou/cat/dog", ("cat/dog", "x")).meaning
    assert not higher_is_better("depth/rmse@median")
    assert is_in_unit("depth/rmse@scale_shift")
    assert "true median" in metric_spec("depth/delta1@median").meaning
    assert alignments_of("depth/rmse@median") == ("median",)
    assert alignments_of("depth/rmse") == alignments_of("mask/iou/a@b") == alignments_of(None) == ()


@pytest.mark.parametrize("name", ["mask/ece", "mask/iou/b", "depth/silog@median", "depth/delta1@scale_shift"])
def test_metrics_that_score_each_image_may_decide(name: str) -> None:
    check_metric(name, BOTH, ("a", "b"), (64, 48))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mask/iuo", "mask/iou"),
        ("depth/rmse", "needs depth"),
        ("mask/iou_pooled", "such as 'mask/iou'"),
        ("mask/recall_pooled", "each image"),
        ("mask/ece/a", "mask/ece"),
        ("mask/iou@median", "mask/iou"),
        ("mask/ms_ssim", "at least 21 px"),
    ],
)
def test_a_metric_that_cannot_decide_is_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_metric(name, ("mask",), ("a", "b"), (16, 16))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("depth/rmse@mean", "Did you mean 'median'"),
        ("depth/ssim@median", "not given with alignment"),
        ("depth/rsme@median", "Did you mean"),
        ("depth/rmse_pooled@median", "such as 'depth/rmse@median'"),
    ],
)
def test_an_alignment_that_is_not_there_is_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_metric(name, BOTH)


def test_pooled_names_and_back() -> None:
    assert pooled_name("depth/rmse@median") == "depth/rmse_pooled@median"
    for name in METRICS:
        assert METRICS[name].pooled == is_pooled_name(name)
        assert unpooled_name(pooled_name(unpooled_name(name))) == unpooled_name(name)
    assert not is_pooled_name("mask/iou/oil_pooled@sea/left")  # a class may have any name
