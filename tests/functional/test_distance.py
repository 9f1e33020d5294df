"""Distances against scipy's transform, against brute force over all pairs of pixels, and against what holds always."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from basrelief.functional import distance
from basrelief.functional.distance import distance_across, distance_to, signed_distance

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 9), st.integers(1, 9))


@st.composite
def stacks(draw: st.DrawFn) -> torch.Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    share = draw(st.sampled_from([0, 0.05, 0.5, 0.95, 1]))
    return torch.rand(draw(SIZES), generator=generator) < share


@pytest.fixture(params=["planes", "rows"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The CPU's transform, and the one for all other devices."""
    if request.param == "rows":
        monkeypatch.setattr(distance, "_by_planes", distance._by_rows)
    return request.param


def brute_force(sites: torch.Tensor) -> torch.Tensor:
    points = sites.nonzero().double()
    pixels = torch.ones_like(sites).nonzero().double()
    if not len(points):
        return torch.full(sites.shape, math.inf, dtype=torch.float64)
    return (pixels[:, None] - points[None]).square().sum(-1).amin(1).sqrt().reshape(sites.shape)


@pytest.mark.parametrize("share", [0.5, 0.02])
@pytest.mark.parametrize("size", [(2, 3, 17, 30), (1, 1, 64, 64), (3, 1, 1, 12), (3, 1, 12, 1)])
def test_distances_are_scipys(way: str, size: tuple[int, ...], share: float) -> None:
    sites = torch.rand(size) < share
    sites[..., 0, 0] = True
    reference = [[ndimage.distance_transform_edt(~plane.numpy()) for plane in image] for image in sites]
    for dtype in (torch.float32, torch.float64):
        result = distance_to(sites, dtype=dtype)
        assert result.dtype == dtype
        np.testing.assert_allclose(result.numpy(), reference, rtol=1e-6)


def test_planes_do_not_see_each_other(way: str) -> None:
    sites = torch.zeros(3, 1, 2, 4, dtype=torch.bool)
    sites[0, 0, 0, 0] = sites[2, 0, 1, 3] = True
    # By hand: along a row 0 1 2 3, one row off sqrt(1 + that squared).
    near, far = [0, 1, 2, 3], [1, math.sqrt(2), math.sqrt(5), math.sqrt(10)]
    first = torch.tensor([near, far])
    assert torch.allclose(distance_to(sites)[0, 0], first)
    assert torch.allclose(distance_to(sites)[2, 0], first.flip(0, 1))
    assert distance_to(sites)[1].isposinf().all()


@pytest.mark.parametrize("function", [distance._by_planes, distance._by_rows])
@given(sites=stacks())
@settings(max_examples=40, deadline=None)
def test_distances_are_those_of_all_pairs(function, sites: torch.Tensor) -> None:  # type: ignore[no-untyped-def]
    expected = torch.stack([brute_force(plane) for plane in sites.flatten(0, 1)]).view(sites.shape)
    assert torch.allclose(function(sites, torch.float64), expected)


@given(sites=stacks())
@settings(max_examples=40, deadline=None)
def test_distance_is_zero_on_the_sites_and_never_steeper_than_one(sites: torch.Tensor) -> None:
    result = distance_to(sites, dtype=torch.float64)
    assert ((result == 0) == sites).all()
    finite = result.masked_fill(result.isinf(), 0)
    for axis in (-2, -1):
        assert (finite.diff(dim=axis).abs() <= 1 + 1e-12).all()


def test_large_planes_stay_exact_by_rows() -> None:
    # (4000 + 3)² + 3² is above 2^24, where float32 skips whole numbers.
    sites = torch.zeros(1, 1, 4000, 3, dtype=torch.bool)
    sites[0, 0, 0, 0] = True
    assert distance._by_rows(sites, torch.float64)[0, 0, 3999, 2].item() == pytest.approx(
        math.hypot(3999, 2), rel=1e-14
    )


def test_signed_distance_by_hand(way: str) -> None:
    mask = torch.tensor([0, 0, 1, 1, 1, 1, 1, 0], dtype=torch.bool).reshape(1, 1, 1, 8)
    # 0 on the outermost pixels of the mask, 1 just outside of it, falling by 1 a pixel inwards.
    assert signed_distance(mask).flatten().tolist() == [2, 1, 0, -1, -2, -1, 0, 1]
    assert distance_across(mask).flatten().tolist() == [2, 1, 1, 2, 3, 2, 1, 1]


@given(mask=stacks())
@settings(max_examples=40, deadline=None)
def test_signed_distance_is_kervadecs(mask: torch.Tensor) -> None:
    # one_hot2dist of the published code: dist(outside)·outside − (dist(inside) − 1)·inside, for masks not empty.
    for plane, result in zip(mask.flatten(0, 1), signed_distance(mask, dtype=torch.float64).flatten(0, 1), strict=True):
        if plane.all() or not plane.any():
            assert (result == 0).all()
        else:
            inside, outside = plane.numpy(), ~plane.numpy()
            to_mask, to_outside = ndimage.distance_transform_edt(outside), ndimage.distance_transform_edt(inside)
            np.testing.assert_allclose(result, to_mask * outside - (to_outside - 1) * inside, atol=1e-12)


def test_no_distance_leads_to_an_unknown_pixel(way: str) -> None:
    mask = torch.tensor([1, 0, 1, 0, 0], dtype=torch.bool).reshape(1, 1, 1, 5)
    valid = torch.tensor([1, 1, 0, 1, 1], dtype=torch.bool).reshape(1, 1, 1, 5)
    assert distance_across(mask, valid)[valid].tolist() == [1, 1, 3, 4]
    assert (distance_across(mask, mask) == 0).all()  # of what is known, all is inside
    assert (distance_across(mask, ~valid & valid) == 0).all()


def test_one_validity_serves_all_classes() -> None:
    mask, valid = torch.rand(2, 3, 6, 7) > 0.5, torch.rand(2, 1, 6, 7) > 0.2
    assert torch.equal(signed_distance(mask, valid), signed_distance(mask, valid.expand_as(mask)))


def test_views_are_read_as_they_are_laid_out() -> None:
    sites = (torch.rand(4, 5, 6, 7) > 0.7).transpose(0, 1).transpose(-1, -2)
    assert torch.equal(distance_to(sites), distance_to(sites.contiguous()))


def test_one_thread_gives_the_same_bits() -> None:
    sites, threads = torch.rand(5, 2, 20, 30) > 0.9, torch.get_num_threads()
    several = distance_to(sites)
    torch.set_num_threads(1)
    try:
        assert torch.equal(distance_to(sites), several)
    finally:
        torch.set_num_threads(threads)
