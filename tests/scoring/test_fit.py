"""Which metrics fit: every pair of kinds and units of depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from basrelief.batch import Sample
from basrelief.data.source import Entry, Source
from basrelief.errors import DataError, UsageError
from basrelief.scoring.fit import fit_metrics, primary_of


def run_of(kind: str = "metric", unit: str = "m", **changes: Any) -> dict[str, Any]:
    settings = {"metric": changes.pop("metric", "depth/rmse")}
    return {"targets": ["depth"], "classes": [], "depth_kind": kind, "depth_unit": unit, "background": False,
            "settings": settings} | changes  # fmt: skip


def source_of(kind: str = "metric", unit: str = "m", **changes: Any) -> Source:
    load: Callable[[Entry], Sample] = lambda entry: pytest.fail("nothing is loaded")  # noqa: E731
    facts = {"targets": ("depth",), "depth_kind": kind, "depth_unit": unit} | changes
    return Source("folder", "data", [], load=load, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("network", "data"), [("relative", "metric"), ("metric", "relative")])
def test_between_relative_and_metric_depth_only_aligned_errors_fit(network: str, data: str) -> None:
    run, source = run_of(network), source_of(data)
    fit = fit_metrics(run, source)
    assert {"depth/rmse", "depth/mae", "depth/abs_rel", "depth/delta1", "depth/ssim", "depth/silog"} <= set(fit.refused)
    assert not any("@" in name for name in fit.refused)
    assert set(fit.align) == {"median", "scale_shift"}
    assert "alignment" in fit.refused["depth/rmse"]
    assert primary_of(run, fit, None) == "depth/rmse@scale_shift"
    with pytest.raises(UsageError, match=r"--metric depth/mae does not fit: data has .* share no scale"):
        fit_metrics(run, source, metric="depth/mae")
    assert primary_of(run, fit_metrics(run, source, metric="depth/mae@median"), "depth/mae@median")


@pytest.mark.parametrize("other", ["metric", "relative"])
def test_disparity_and_depth_share_no_metric(other: str) -> None:
    for network, data in (("disparity", other), (other, "disparity")):
        with pytest.raises(DataError, match="one falls where the other rises"):
            fit_metrics(run_of(network), source_of(data))


def test_masks_are_scored_where_depth_cannot_be() -> None:
    run = run_of("metric", targets=["mask", "depth"], classes=["figure"])
    source = source_of("disparity", targets=("mask", "depth"), classes=("figure",))
    fit = fit_metrics(run, source)
    assert fit.targets == ("mask",)
    assert primary_of(run, fit, None) == "mask/iou"
    assert "depth/rmse" in fit.refused
    assert "depth/rmse@median" not in fit.refused or fit.align


def test_units_of_length_are_converted_and_others_refused() -> None:
    assert fit_metrics(run_of(unit="m"), source_of(unit="mm")).factor == pytest.approx(0.001)
    assert fit_metrics(run_of(unit="cm"), source_of(unit="m")).factor == pytest.approx(100)
    with pytest.raises(DataError, match="depth unit is ft"):
        fit_metrics(run_of(unit="m"), source_of(unit="ft"))
    with pytest.raises(DataError, match="depth unit is not known"):
        fit_metrics(run_of(unit="m"), source_of(unit=""))


def test_two_relative_depths_are_compared_with_a_word_of_care() -> None:
    run, source = run_of("relative", ""), source_of("relative", "")
    fit = fit_metrics(run, source)
    assert not fit.refused
    assert set(fit.align) == {"median", "scale_shift"}
    assert "same scale" in fit.notes[0]
    assert not fit_metrics(run, source, own_data=True).notes


def test_targets_and_classes_that_are_not_there_are_refused_with_the_reason() -> None:
    run = run_of(targets=["mask", "depth"], classes=["figure"], metric="mask/iou")
    fit = fit_metrics(run, source_of())
    assert fit.refused["mask/iou"] == "data has no masks."
    assert primary_of(run, fit, None) == "depth/rmse"
    with pytest.raises(UsageError, match="has no masks"):
        fit_metrics(run, source_of(), metric="mask/dice")
    other = fit_metrics(run, source_of(targets=("mask", "depth"), classes=("cup", "plate")))
    assert "cup, plate" in other.refused["mask/iou"]
    with pytest.raises(DataError, match="cup, plate"):
        fit_metrics(run | {"targets": ["mask"]}, source_of(targets=("mask",), classes=("cup", "plate")))


@pytest.mark.parametrize("name", ["mask/iou", "depth/rmsee", "depth/rmse_pooled", "depth/ssim@median"])
def test_a_metric_that_cannot_be_asked_for_is_a_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError):
        fit_metrics(run_of(), source_of(), metric=name)
