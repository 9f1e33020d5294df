from __future__ import annotations

import base64
import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.data.inspect import inspect_source
from basrelief.data.labelme import detect_labelme, read_labelme
from basrelief.data.source import DataOptions
from basrelief.errors import DataError
from outlines import CORNERS, HEIGHT, WIDTH, write_labelme


@pytest.fixture
def plain(tmp_path):
    return write_labelme(tmp_path, 4)


def read(root, **options):
    return read_labelme(str(root), DataOptions(**options))


def first(source):
    return source.load(source.entries[0])


def shape(label="block", points=CORNERS, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, **more}


def change(root, *shapes, name="00", **more):
    path = root / f"{name}.json"
    content = json.loads(path.read_text())
    if shapes:
        content["shapes"] = list(shapes)
    path.write_text(json.dumps({**content, **more}))


def test_polygons_are_drawn(plain):
    source = open_source(str(plain))
    assert source.format == "labelme"
    assert [entry.id for entry in source.entries] == ["00", "01", "02", "03"]
    assert first(source).mask[0, 4:12, 5:15].all()
    assert first(source).mask.sum() <= 9 * 11
    assert first(source).mask_valid is None


def test_rectangles_and_circles_are_drawn(plain):
    change(plain, shape(points=[[15, 12], [5, 4]], kind="rectangle"))
    change(plain, shape(points=[[15, 10], [15, 16]], kind="circle"), name="01")
    source = read(plain)
    assert first(source).mask[0, 4:12, 5:15].all()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(rows - 10, columns - 15)
    disc = source.load(source.entries[1]).mask[0]
    assert disc[distance < 5].all()
    assert not disc[distance > 7.5].any()


def test_labels_choose_planes_and_ignored_ones_are_unknown(plain):
    corner = [[0, 0], [3, 0], [3, 3], [0, 3]]
    far = [[25, 15], [29, 15], [29, 19], [25, 19]]
    change(plain, shape(), shape("corner", corner), shape("__ignore__", far), shape("_background_", far))
    source = read(plain, categories=("corner", "block"))
    assert source.classes == ("corner", "block")
    sample = first(source)
    assert sample.mask[0, 1, 1] == 1
    assert sample.mask[1, 6, 7] == 1
    assert not sample.mask_valid[17, 27]
    assert sample.mask_valid[0, 29]


def test_shapes_of_one_group_are_one_instance(plain):
    other = [[20, 2], [25, 2], [25, 7], [20, 7]]
    change(plain, shape(group_id=1), shape(points=other, group_id=1))
    change(plain, shape(), shape(points=other), name="01")
    source = read(plain, single_instance=True)
    assert [entry.id for entry in source.entries] == ["00", "02", "03"]
    assert first(source).mask[0, 4, 22] == 1


def test_splits_are_those_of_the_folders(tmp_path):
    for split in ("train", "Test"):
        write_labelme(tmp_path / split, 2)
    source = read(tmp_path)
    assert [(e.id, e.split) for e in source.entries] == [
        ("test/00", "test"),
        ("test/01", "test"),
        ("train/00", "train"),
        ("train/01", "train"),
    ]
    assert all(entry.planes["image"].parent == entry.planes["mask"].parent for entry in source.entries)


def test_images_are_found_from_any_system_and_below_the_folder_only(plain):
    (plain / "pictures").mkdir()
    (plain / "00.png").rename(plain / "pictures" / "00.png")
    change(plain, imagePath="..\\pictures\\00.png")
    change(plain, imagePath="../../etc/passwd.png", name="01")
    source = read(plain)
    assert source.entries[0].planes["image"].parent.name == "pictures"
    assert [entry.id for entry in source.entries] == ["00", "02", "03"]
    assert "01.json: names the image '../../etc/passwd.png', of which there are 0" in str(source.faults[0])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (shape(points=[[1, 1], [5, 5]], kind="line"), "have no area (line) and mark nothing"),
        (shape(points=[[1, 1], [5, 5]]), "fewer than 3 points"),
        (shape(points=[]), "is no list"),
        (shape(points=[["a", 1], [5, 5], [3, 3]]), "no pairs of numbers"),
        (shape(points=None), "no pairs of numbers"),
        ({"label": "block"}, "no pairs of numbers"),
        (shape(points=[[0, 0], [1e300, 1]], kind="circle"), "reaches far outside"),
        (shape(points=[[1, 1], [5, 5]], kind="mask"), "a mask that is no PNG in base64"),
        (shape(points=[[0, 0], [900, 0], [900, 900]]), "reaches far outside"),
    ],
)
def test_shapes_that_cannot_be_drawn_are_named(plain, bad, why):
    change(plain, shape(), bad)
    text = " ".join(str(fault) for fault in read(plain).faults)
    assert why in text
    assert "00." in text
    assert inspect_source(read(plain)).usable >= 3


@pytest.mark.parametrize(
    "text",
    [
        '{"shapes": 1, "imagePath": "a"}',
        '{"shapes": [1], "imagePath": "a"}',
        '{"shapes": [], "imagePath": 5}',
        '{"shapes": [], "imagePath": ".."}',
        '{"shapes": [], "imagePath"',
        '["shapes", "imagePath"]',
    ],
)
def test_a_damaged_file_is_a_fault_and_the_others_are_used(plain, text):
    (plain / "00.json").write_text(text)
    source = read(plain)
    assert [entry.id for entry in source.entries] == ["01", "02", "03"]
    assert "00.json" in str(source.faults[0])
    assert source.faults[0].fatal


def test_an_image_of_another_size_is_refused(plain):
    Image.new("RGB", (60, 40)).save(plain / "00.png")
    with pytest.raises(DataError, match=r"00\.png: is 60 × 40 pixels, and 00\.json describes it with 30 × 20"):
        first(read(plain))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="no JSON file with shapes"):
        read(tmp_path)
    assert not detect_labelme(str(tmp_path))


def encoded(pixels):
    """As LabelMe writes a mask: the part of the image within the box, as 1-bit PNG in base64."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def test_masks_are_placed_at_their_box_and_joined_by_group(plain):
    part = np.zeros((4, 6), bool)
    part[1:3, 2:] = True
    mask = shape(points=[[10, 5], [15, 8]], kind="mask", mask=encoded(part))
    change(plain, mask)
    change(plain, {**mask, "group_id": 1}, shape(points=[[20, 1], [25, 1], [25, 3]], group_id=1), name="01")
    change(plain, shape(points=[[25, 18], [30, 21]], kind="mask", mask=encoded(part)), name="02")
    source = read(plain)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[6:8, 12:16] = True
    assert (first(source).mask[0] == expected).all()
    joined = source.load(source.entries[1]).mask[0]
    assert (joined[:, :17] == expected[:, :17]).all()
    assert joined[2, 24]
    assert any("reaches out of the image" in str(fault) for fault in source.faults)
    assert len(read(plain, single_instance=True).entries) == 3


def test_the_image_beside_its_file_is_taken_among_many_of_one_name(tmp_path):
    for i in range(30):
        write_labelme(tmp_path / f"{i:02d}", 1)
    source = read(tmp_path)
    assert len(source.entries) == 30
    assert all(entry.planes["image"].parent == entry.planes["mask"].parent for entry in source.entries)


def test_images_inside_the_files_are_not_kept(plain):
    change(plain, imageData="A" * 1_000_000)
    assert len(pickle.dumps(read(plain))) < 50_000
