from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.errors import DataError
from basrelief.inference.boxes import find_boxes, run_lengths
from basrelief.inference.boxes_file import BoxesFile


def decoded(segmentation: dict) -> np.ndarray:
    """Read run lengths as the COCO format states them: down the columns, the first run is background."""
    flat = np.concatenate([np.full(run, place % 2, bool) for place, run in enumerate(segmentation["counts"])])
    return flat.reshape(segmentation["size"], order="F")


def test_components_by_hand() -> None:
    labels = np.array(
        [
            [1, 0, 0, 0, 2],
            [0, 1, 0, 0, 2],
            [0, 0, 0, 0, 2],
            [1, 0, 0, 2, 0],
        ],
        np.uint8,
    )
    soft = np.zeros((2, 4, 5), np.uint16)
    soft[0][labels == 1] = 52428  # 0.8
    soft[1][labels == 2] = [65535, 65535, 32768, 32767]  # rows from the top: 1, 1, 0.5, 0.5
    found = find_boxes(labels, soft)
    # Diagonal neighbours are one component; the lone pixel at the lower left is another.
    assert [(box["category_id"], box["bbox"], box["area"]) for box in found] == [
        (2, [3, 0, 2, 4], 4),
        (1, [0, 0, 2, 2], 2),
        (1, [0, 3, 1, 1], 1),
    ]
    assert [box["score"] for box in found] == [0.75, 0.8, 0.8]
    # Columns of 4: the pixels (0, 0) and (1, 1) are the numbers 0 and 5.
    assert found[1]["segmentation"] == {"size": [4, 5], "counts": [0, 1, 4, 1, 14]}
    assert find_boxes(labels, soft, min_area=2) == found[:2]
    assert find_boxes(np.zeros((4, 5), np.uint8), soft) == []


def test_runs_that_go_on_at_the_next_columns_top_are_one() -> None:
    assert run_lengths(np.ones((3, 2), bool), (0, 1), (3, 4)) == [3, 6, 3]
    assert run_lengths(np.ones((3, 4), bool), (0, 0), (3, 4)) == [0, 12]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_segmentations_cover_each_pixel_of_the_mask_once(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (height, width)).astype(np.uint8)
    soft = rng.integers(0, 65536, (2, height, width)).astype(np.uint16)
    found = find_boxes(labels, soft)
    for number in (1, 2):
        parts = [decoded(box["segmentation"]) for box in found if box["category_id"] == number]
        assert np.array_equal(np.sum(parts, axis=0) if parts else np.zeros((height, width)), labels == number)
    for box in found:
        part = decoded(box["segmentation"])
        rows, columns = np.nonzero(part)
        assert box["area"] == part.sum()
        assert box["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert box["score"] == pytest.approx(soft[box["category_id"] - 1][part].mean() / 65535, abs=1e-6)
        assert 0 not in box["segmentation"]["counts"][1:]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.skipif(importlib.util.find_spec("pycocotools") is None, reason="the extra coco is not installed")
def test_pycocotools_reads_the_document(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    rng = np.random.default_rng(0)
    labels = (rng.random((20, 30)) > 0.6).astype(np.uint8)
    soft = np.full((1, 20, 30), 40000, np.uint16)
    boxes = BoxesFile(tmp_path, ["cell"])
    boxes.add("a", {"file_name": "a.png", "width": 30, "height": 20, "annotations": find_boxes(labels, soft)})
    boxes.finish()
    coco = COCO(tmp_path / "boxes.json")
    masks = [coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds())]
    assert len(masks) > 5
    assert np.array_equal(np.sum(masks, axis=0), labels)


def test_a_document_is_gone_on_with_where_a_command_was_killed(tmp_path: Path) -> None:
    picture = {"file_name": "b.jpg", "width": 3, "height": 2, "annotations": []}
    boxes = BoxesFile(tmp_path, ["cell"])
    boxes.add("b", picture)
    with (tmp_path / ".boxes.jsonl").open("a") as file:
        file.write('{"name": "c", "pict')  # killed while it wrote
    boxes = BoxesFile(tmp_path, ["cell"])
    assert "b" in boxes
    assert "c" not in boxes
    boxes.add("a", picture | {"file_name": "a.jpg"})
    again = BoxesFile(tmp_path, ["cell"])
    assert "a" in again
    again.finish()
    assert not (tmp_path / ".boxes.jsonl").exists()
    document = json.loads((tmp_path / "boxes.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["a.jpg", "b.jpg"]
    assert "a" in BoxesFile(tmp_path, ["cell"])


def test_a_document_that_somebody_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text('{"images": [{}], "annotations": []}')
    with pytest.raises(DataError, match=r"boxes\.json is not as Basrelief wrote it"):
        BoxesFile(tmp_path, ["cell"])
