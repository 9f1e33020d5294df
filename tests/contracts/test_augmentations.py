"""What every step of the table must do."""

from __future__ import annotations

import itertools

import pytest
import torch

from basrelief.augment import AUGMENTATIONS, parse_augment
from basrelief.batch import Batch
from batches import gen, make


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("size", [(13, 13), (7, 12), (1, 1), (1, 9)])
def test_every_step_runs_on_odd_sizes_and_with_planes_missing(name: str, size: tuple[int, int]) -> None:
    augment = parse_augment(f"{name}(p=1)")
    for gone in itertools.chain([()], itertools.combinations(["background", "mask", "depth"], 1), [("mask", "depth")]):
        batch = make(1, size, classes=3)
        for plane in gone:
            setattr(batch, plane, None)
            setattr(batch, f"{plane}_valid", None)
        found = augment(batch, gen(0), depth_kind="metric")
        assert list(found) == list(batch)
        assert all(found[plane].isfinite().all() for plane in found)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_step_changes_something_and_nothing_with_p_0(name: str) -> None:
    batch = make(6, (16, 24))
    assert not torch.equal(parse_augment(f"{name}(p=1)")(batch, gen(0)).image, batch.image)
    kept = parse_augment(f"{name}(p=0)")(batch, gen(0))
    assert torch.equal(kept.image, batch.image)
    assert torch.equal(kept["mask"], batch["mask"])


@pytest.mark.parametrize("name", [name for name, spec in AUGMENTATIONS.items() if spec.kind == "colour"])
def test_apart_draws_for_the_background_by_itself(name: str) -> None:
    picture = torch.rand(8, 3, 16, 16)
    batch = Batch(picture, picture.clone())
    p = 0.5 if name == "grey" else 1
    together = parse_augment(f"{name}(p={p})")(batch, gen(0))
    assert torch.equal(together.image, together["background"])
    apart = parse_augment(f"{name}(p={p}, apart=true)")(batch, gen(0))
    assert torch.equal(apart.image, together.image)
    assert not torch.equal(apart.image, apart["background"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "noise"])
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    augment, batch = parse_augment(f"{name}(p=0.7)"), make(8, (32, 40))
    here = augment(batch, gen(0), depth_kind="metric")
    there = augment(Batch(**{plane: batch[plane].cuda() for plane in batch}), gen(0), depth_kind="metric")
    for plane in here:
        assert there[plane].is_cuda
        near = (here[plane].double() - there[plane].cpu().double()).abs() < 1e-3
        assert near.double().mean() > 0.995, plane  # a nearest pixel or a rounding may fall to the other side
