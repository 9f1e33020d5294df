"""Write-up D's recipes: the made objects are what they say, and each study runs, at less than its smallest scale."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from basrelief import app
from basrelief.data import DataOptions, open_source
from basrelief.data.outlines import runs_of
from basrelief.data.planned_split import divide
from basrelief.data.purdue_write import write_purdue_shapes
from basrelief.recipes import made_coco

WORDS = ("cake+dog+motorcycle",)


@pytest.fixture
def small_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """24 pictures to train and 6 to test, a fifth as large as those that are made."""
    for name, value in (("HEIGHT", 96), ("WIDTH", 128), ("LEAST", 40)):
        monkeypatch.setattr(made_coco, name, value)
    folder = tmp_path / "objects"
    folder.mkdir()
    made_coco.make_objects(folder, lambda _done, _total: None, train=24, test=6, seed=0)
    return folder


def test_made_objects_are_chosen_as_coco_is(small_objects: Path) -> None:
    pytest.importorskip("pycocotools")
    chosen = DataOptions(categories=WORDS, single_instance=True, min_box=40)
    kept = open_source(str(small_objects), chosen)
    assert len(kept.classes) == 1
    assert sorted(entry.split for entry in kept.entries) == ["test"] * 6 + ["train"] * 24
    assert not kept.faults
    single = open_source(str(small_objects), DataOptions(categories=WORDS, single_instance=True))
    some = open_source(str(small_objects), DataOptions(categories=WORDS))
    every = open_source(str(small_objects), DataOptions())
    assert len(kept.entries) < len(single.entries) < len(some.entries) < len(every.entries)  # small, two, another


def test_made_masks_are_those_that_were_drawn(small_objects: Path) -> None:
    pytest.importorskip("pycocotools")
    document = json.loads((small_objects / "annotations" / "instances_train2017.json").read_text())
    used = {one["category_id"] for one in document["annotations"]}
    assert used == {*made_coco.CATEGORIES, made_coco.OTHER[0]}
    areas = {one["image_id"]: one["area"] for one in document["annotations"]}
    chosen = DataOptions(categories=WORDS, single_instance=True, min_box=40)
    source = open_source(str(small_objects), chosen)
    for entry in source.entries[-4:]:
        sample = source.load(entry)
        assert sample.mask is not None
        assert sample.image.shape == (96, 128, 3)
        assert int(sample.mask.sum()) == areas[int(entry.id.rpartition("/")[2])]


@pytest.mark.parametrize("hole", [False, True])
def test_an_outline_gives_the_mask_back(hole: bool) -> None:
    from basrelief.data.instance_masks import fill_as_coco
    from basrelief.data.outlines import read_shape

    pytest.importorskip("pycocotools")
    mask = np.zeros((20, 30), bool)
    mask[3:9, 0:12] = mask[7:15, 8:11] = mask[5, 12:30] = True
    mask[5, 4:6] = not hole
    shape = made_coco.describe(mask)
    assert isinstance(shape["segmentation"], dict) is hole
    polygons, runs = read_shape(shape["segmentation"], (20, 30))
    if runs is None:
        assert np.array_equal(fill_as_coco(polygons, (20, 30)), mask)
    else:
        assert runs.lengths.tolist() == runs_of(mask).lengths.tolist()
    assert shape["bbox"] == [0, 3, 30, 12]


def test_shapes_are_regressed_and_shown_plane_by_plane(tmp_path: Path) -> None:
    verdict = app.study(
        recipe="purdue-shapes",
        scale="smoke",
        out=tmp_path / "shapes",
        losses=("mse = mse(mask)", "balanced = balance(mse(mask) + pixel_dice(mask))"),
        resolution=16,
        jobs=1,
    )
    assert [row["failed"] for row in verdict["losses"]] == [0, 0]
    page = (tmp_path / "shapes" / "report.html").read_text()
    assert 'href="#planes"' in page
    assert len(re.findall(r'class="planes"', page)) == 1  # one image chooses the checkpoint


def test_the_published_test_file_is_the_test(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    folder.mkdir()
    for split, count in (("10000-train", 6), ("1000-test", 3)):
        write_purdue_shapes(folder / f"PurdueShapes5MultiObject-{split}.gz", count, seed=0)
    for data, sizes in ((folder, (5, 1, 3)), (folder / "PurdueShapes5MultiObject-10000-train.gz", (4, 1, 1))):
        source = open_source(str(data))
        split, said = divide(source.entries, [entry.id for entry in source.entries], DataOptions(), "group", 0)
        assert split is not None, said
        assert tuple(len(split.rows[name]) for name in ("train", "val", "test")) == sizes


def test_the_study_of_objects_runs(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    verdict = app.study(
        recipe="coco-objects",
        scale="smoke",
        out=tmp_path / "objects",
        losses=("mae = l1(mask)", "mse = mse(mask)"),
        resolution=16,
        jobs=1,
    )
    rows = {row["name"]: row for row in verdict["losses"]}
    assert rows["mae"]["failed"] == 0
