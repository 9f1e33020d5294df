"""Pictures of fixed samples: the same ones, in the right colours, and without a trace in the training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from basrelief.batch import Batch
from basrelief.data.loader import Loader
from basrelief.data.store import Store
from basrelief.engine.samples import sample_images, undisturbed
from basrelief.functional.colours import HATCH, class_colours, depth_palette
from basrelief.models import create_model

SIDE, GAP = 32, 2


def serve(store: Store, count: int = 24, *, background: bool = True) -> Loader:
    rows = np.arange(count)
    return Loader(store, rows, 5, torch.device("cpu"), targets=("mask", "depth"), background=background)


def tile(picture: np.ndarray, place: int) -> np.ndarray:
    start = place * (SIDE + GAP)
    return picture[:, start : start + SIDE]


class Fixed(nn.Module):
    """Answers with given logits, whatever it is shown."""

    def __init__(self, **logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: torch.Tensor, background: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return self.logits


class Served:
    """A loader of one batch that a test makes up."""

    def __init__(self, batch: Batch) -> None:
        self.made, self.rows = batch, np.arange(batch.size)

    def batch(self, rows: np.ndarray) -> Batch:
        assert rows.tolist() == self.rows.tolist()
        return self.made


def draw(store: Store, model: nn.Module, batch: Batch, activation: str = "identity", **facts: Any) -> np.ndarray:
    served: Any = Served(batch)
    known = dataclasses.replace(store.facts, **facts)
    return sample_images(model, served, {"mask": activation, "depth": activation}, known)["samples/0"]


def test_eight_samples_spread_over_all_and_always_the_same(scenes_store: Store) -> None:
    model = create_model("masknet", background=True)
    first = sample_images(model, serve(scenes_store), {}, scenes_store.facts)
    assert list(first) == [f"samples/{row}" for row in (0, 3, 6, 9, 13, 16, 19, 23)]
    again = sample_images(model, serve(scenes_store), {}, scenes_store.facts)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert len(sample_images(model, serve(scenes_store, 3), {}, scenes_store.facts)) == 3
    assert sample_images(model, serve(scenes_store, 0), {}, scenes_store.facts) == {}


def test_a_row_holds_what_there_is_from_the_image_to_the_error(scenes_store: Store) -> None:
    batch = serve(scenes_store).batch(np.array([0]))
    assert batch.mask is not None
    assert batch.depth is not None
    picture = draw(scenes_store, Fixed(mask=batch.mask, depth=batch.depth), batch)  # a network that is right
    assert picture.shape == (SIDE, 8 * SIDE + 7 * GAP, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(tile(picture, 0), np.rint(batch.image[0].permute(1, 2, 0).numpy() * 255))
    assert np.array_equal(tile(picture, 2)[..., 0], batch.mask[0, 0].numpy() * 255)
    assert np.array_equal(tile(picture, 2), tile(picture, 3))
    assert np.array_equal(tile(picture, 5), tile(picture, 6))
    assert not tile(picture, 4).any()
    assert not tile(picture, 7).any()
    alone = serve(scenes_store, background=False)
    model = create_model("masknet")  # gives masks alone, so depth has only its truth
    row = sample_images(model, alone, {}, scenes_store.facts)["samples/0"]
    assert row.shape == (SIDE, 5 * SIDE + 4 * GAP, 3)


def test_errors_are_grey_and_unknown_pixels_hatched(scenes_store: Store) -> None:
    depth = torch.linspace(0, 1, SIDE).expand(1, 1, SIDE, SIDE).clone()
    mask = torch.zeros(1, 1, SIDE, SIDE)
    known = torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool)
    known[..., :4, :] = False
    batch = Batch(torch.rand(1, 3, SIDE, SIDE), None, mask, known, depth, known)
    model = Fixed(mask=torch.full_like(mask, 0.5), depth=depth + 0.125)  # half of the error that shows white
    _, mask_true, mask_pred, mask_error, depth_true, depth_pred, depth_error = (
        tile(draw(scenes_store, model, batch), place) for place in range(7)
    )
    for shown in (mask_true, mask_error, depth_true, depth_error):
        assert set(np.unique(shown[:4])) == set(HATCH)
    assert set(np.unique(mask_pred)) == set(np.unique(mask_error[4:])) == {128}
    assert depth_error[4:].min() > 124
    assert depth_error[4:].max() < 134
    assert np.array_equal(depth_true[10, -1], depth_palette()[253])
    assert (depth_pred[10] != depth_true[10]).any()


def test_a_prediction_that_is_not_finite_is_hatched_and_stops_nothing(scenes_store: Store) -> None:
    batch = serve(scenes_store).batch(np.array([0]))
    wrong = torch.full((1, 1, SIDE, SIDE), float("nan"))
    picture = draw(scenes_store, Fixed(mask=wrong, depth=wrong), batch)
    assert all(set(np.unique(tile(picture, place))) == set(HATCH) for place in (3, 4, 6, 7))


def test_classes_have_the_colours_of_reports(scenes_store: Store) -> None:
    mask = torch.zeros(1, 3, SIDE, SIDE)
    for k in range(3):
        mask[:, k, :, 10 * k : 10 * (k + 1)] = 1
    batch = Batch(torch.rand(1, 3, SIDE, SIDE), None, mask)
    picture = draw(scenes_store, Fixed(mask=20 * mask - 10), batch, "softmax", classes=("a", "b", "c"))
    colours = class_colours(("a", "b", "c"), 3)
    for place in (1, 2):
        assert np.abs(tile(picture, place)[5, [5, 15, 25]].astype(int) - colours).max() <= 1
    assert not tile(picture, 1)[:, 30:].any()


def test_large_pictures_are_thinned(scenes_store: Store) -> None:
    batch = Batch(torch.rand(1, 3, 300, 600), None, torch.zeros(1, 1, 300, 600))
    picture = draw(scenes_store, Fixed(mask=torch.zeros(1, 1, 300, 600)), batch, resolution=(300, 600))
    assert picture.shape == (100, 4 * 200 + 3 * GAP, 3)


def train(store: Store, *, watched: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Train a network with dropout and batch norm for a few steps, a part of it frozen; look at it or not."""
    torch.manual_seed(3)
    model = create_model("masknet(dropout=0.3)", background=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loader = serve(store)
    model.train()
    model.image_stem.eval()
    for _, batch in loader.epoch(0, 0):
        model(batch.image, batch.background)["mask"].mean().backward()
        optimizer.step()
        if watched:
            sample_images(model, loader, {}, store.facts)
            assert model.training
            assert not model.image_stem.training
    return model.state_dict(), torch.get_rng_state()


def test_weights_and_random_numbers_are_the_same_with_and_without_pictures(scenes_store: Store) -> None:
    plain, drawn = train(scenes_store, watched=False)
    watched, drawn_watched = train(scenes_store, watched=True)
    assert torch.equal(drawn, drawn_watched)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_a_network_that_draws_numbers_or_fails_while_looked_at_leaves_no_trace() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
    model[0].eval()
    before = torch.get_rng_state()

    def fail() -> None:
        with undisturbed(model):
            torch.rand(9)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == [True, False, True]


def test_a_compiled_network_is_looked_at_without_compiling_it_for_another_batch_size(scenes_store: Store) -> None:
    inner = create_model("masknet", background=True)
    compiled = torch.compile(inner, backend=_refuse)
    assert sample_images(compiled, serve(scenes_store, 2), {}, scenes_store.facts)


def _refuse(*_: Any) -> Any:
    raise AssertionError("compiled")
