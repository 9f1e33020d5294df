"""Strata from facts and stores whose answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from basrelief.batch import Sample
from basrelief.data.pack import pack
from basrelief.data.source import Entry, Source
from basrelief.data.store import Store
from basrelief.studies.decisions import decide_all
from basrelief.studies.strata import divide, strata
from basrelief.studies.truth import Truth, read_truth
from basrelief.studies.verdict import verdict
from made_up import results


def by_name(found: list[dict]) -> dict[str, dict]:
    return {entry["name"]: entry for entry in found}


def pack_samples(samples: list[Sample], folder: Path, size: tuple[int, int] = (6, 10)) -> Store:
    lookup = {sample.id: sample for sample in samples}
    entries = [Entry(sample.id, {}) for sample in samples]
    source = Source(
        "made up", "made up", entries, ("mask", "depth"), lambda entry: lookup[entry.id], ("a", "b"), resolution=size
    )
    return pack(source, entries, folder, size, key="test", jobs=1)


def sample(number: int, mask: np.ndarray | None, depth: np.ndarray | None, valid: np.ndarray | None = None) -> Sample:
    image = np.zeros((6, 10, 3), np.uint8)
    return Sample(f"{number}", image, None, mask, valid, depth)


def test_facts_are_those_of_each_sample_read_by_hand(tmp_path: Path) -> None:
    """A width of 10 leaves padding bits in a row; the classes overlap; a third of a mask and of a depth is unknown."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(9):
        mask = (rng.random((2, 6, 10)) < 0.1 * number).astype(np.uint8)
        depth = rng.random((6, 10)).astype(np.float32) + 1
        valid = rng.random((6, 10)) < 0.7 if number % 2 else None
        if number % 3:
            depth[rng.random((6, 10)) < 0.3] = np.nan
        samples.append(sample(number, mask, depth, valid))
    samples.append(sample(9, None, None))
    store = pack_samples(samples, tmp_path / "store")
    rows = np.array([7, 0, 9, 3, 4, 8, 1])
    found = read_truth(store, rows)
    assert found.figure is not None
    assert found.depth is not None
    for place, row in enumerate(rows):
        one = store.sample(int(row))
        if one.mask is None or one.depth is None:
            assert np.isnan(found.figure[place])
            assert np.isnan(found.depth[place])
            continue
        known = np.ones((6, 10), bool) if one.mask_valid is None else one.mask_valid
        assert found.figure[place] == pytest.approx(one.mask.any(axis=0)[known].mean())
        assert found.depth[place] == pytest.approx(np.nanmedian(one.depth), abs=1e-4)


def test_without_masks_or_depth_there_are_no_such_strata(scenes_store: Store) -> None:
    truth = read_truth(scenes_store, np.arange(24))
    assert {stratum.kind for stratum in divide(truth)} == {"figure", "depth"}
    assert {s.kind for s in divide(dataclasses.replace(truth, figure=None))} == {"depth"}
    assert divide(Truth()) == []


def test_every_image_with_a_figure_is_in_one_third_and_unknown_ones_in_none() -> None:
    figure = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan, 0])
    parts = {stratum.name: stratum for stratum in divide(Truth(figure))}
    assert {name: np.flatnonzero(part.images).tolist() for name, part in parts.items()} == {
        "empty": [0, 8],
        "small": [1, 2],
        "middle": [3, 4],
        "large": [5, 6],
    }
    assert parts["small"].meaning == "figure on up to 27 % of the image"
    assert parts["large"].meaning == "figure on more than 43 % of the image"


def test_figures_of_one_size_are_not_divided() -> None:
    assert [stratum.name for stratum in divide(Truth(np.full(9, 0.25)))] == ["empty"]
    assert divide(Truth(depth=np.full(9, 2.0))) == []


def test_the_larger_disparity_is_the_nearer() -> None:
    depth = np.array([1.0, 2, 3, 4, np.nan])
    near = {s.name: s.images.tolist() for s in divide(Truth(depth=depth, unit="m"))}
    assert near == {"near": [True, True, False, False, False], "far": [False, False, True, True, False]}
    turned = {s.name: s.images.tolist() for s in divide(Truth(depth=depth, inverse=True))}
    assert turned == {"near": near["far"], "far": near["near"]}
    assert "up to 2.5 m" in divide(Truth(depth=depth, unit="m"))[0].meaning


def test_an_order_that_turns_round_on_small_figures_is_found() -> None:
    figure = np.tile([0.1, 0.2, 0.3], 20)

    def worse_on_small(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        return scores - 0.3 * ((name == "bce") & (figure == 0.1))

    made = results({"bce": 0.9, "dice": 0.7}, images=60, change=worse_on_small, truth=Truth(figure))
    document = verdict(made)
    found = by_name(document["strata"])
    assert document["winner"] == "bce"
    assert list(found) == ["small", "middle", "large"]
    assert (found["small"]["best"], found["small"]["winner"], found["small"]["holds"]) == ("dice", "dice", False)
    assert (found["large"]["best"], found["large"]["winner"], found["large"]["holds"]) == ("bce", "bce", True)
    assert [entry["tau"] for entry in document["strata"]] == [-1, 1, 1]
    means = [entry["losses"][0]["mean"] for entry in document["strata"]]
    assert np.mean(means) == pytest.approx(document["losses"][0]["mean"])
    assert all(entry["exploratory"] for entry in document["strata"])


def test_a_stratum_of_few_images_has_means_and_nothing_more() -> None:
    figure = np.array([0.0] * 4 + [0.1, 0.2, 0.3] * 12)
    made = results({"bce": 0.9, "dice": 0.7}, images=40, truth=Truth(figure))
    entry = by_name(strata(made, decide_all(made, "mask/iou")))["empty"]
    assert (entry["images"], entry["winner"], entry["holds"]) == (4, None, None)
    assert [row["ci"] for row in entry["losses"]] == [[None, None]] * 2
    assert entry["losses"][0]["mean"] > 0.7
    assert entry["best"] == "bce"


def test_without_a_decision_no_order_can_hold() -> None:
    made = results({"bce": 0.9, "dice": 0.9}, noise=0.05, images=30, truth=Truth(np.linspace(0.1, 0.9, 30)))
    assert [entry["holds"] for entry in verdict(made)["strata"]] == [None] * 3
