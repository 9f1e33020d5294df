from __future__ import annotations

import importlib.util
import json
import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from basrelief.app import settings_from
from basrelief.config import StudySettings
from basrelief.data import open_source
from basrelief.data.coco import detect_coco, read_coco
from basrelief.data.inspect import inspect_source
from basrelief.data.source import DataOptions
from basrelief.errors import DataError, MissingExtraError, UsageError
from basrelief.studies.repeat import _option

if importlib.util.find_spec("pycocotools") is None:
    pytest.skip("the extra 'coco' is not installed", allow_module_level=True)

HEIGHT, WIDTH = 20, 30
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "Dog"}, {"id": 7, "name": "hot+cold"}]


def square(x=5, y=4, width=10, height=8):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def pixels(x=5, y=4, width=10, height=8):
    result = np.zeros((HEIGHT, WIDTH), bool)
    result[y : y + height, x : x + width] = True
    return result


def note(image=1, category=1, segmentation=None, **more):
    """An annotation: a square, unless it says otherwise."""
    given = square() if segmentation is None else segmentation
    return {"image_id": image, "category_id": category, "segmentation": given, "iscrowd": 0, **more}


def dataset(root, annotations, count=3, name="trainval.json", folder="images", **more):
    """Write ``count`` images with ids from 1, and their annotations, numbered."""
    rng = np.random.default_rng(0)
    (root / folder).mkdir(parents=True, exist_ok=True)
    images = []
    for i in range(1, count + 1):
        array = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(array).save(root / folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT})
    numbered = [{"id": 100 + i, **a} if isinstance(a, dict) else a for i, a in enumerate(annotations)]
    content = {"images": images, "annotations": numbered, "categories": CATEGORIES, **more}
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def read(root, **options):
    return read_coco(str(root), DataOptions(**options))


def ids(source):
    return [entry.id for entry in source.entries]


def first(source):
    return source.load(source.entries[0])


def faults(source):
    return [str(fault) for fault in source.faults]


# Where things lie


def test_a_file_beside_its_images_makes_binary_masks(tmp_path):
    path = dataset(tmp_path, [note(1), note(2, 3), note(10), note(3)], 10)
    for location in (path, tmp_path):
        assert detect_coco(str(location))
        source = open_source(str(location))
        assert source.format == "coco"
        assert ids(source) == ["1", "2", "3", "10"]
        assert source.classes == ("figure",)
        assert (first(source).mask[0] == pixels()).all()
        assert first(source).mask_valid is None
        assert {entry.split for entry in source.entries} == {None}
    assert "10 listed; 4 with an instance" in " ".join(source.notes)
    assert "person (3), Dog (1)" in " ".join(source.notes)


def test_files_named_for_splits_make_ready_made_splits(tmp_path):
    dataset(tmp_path, [note(1), note(2)], 2, "annotations/instances_train2017.json", "train2017")
    dataset(tmp_path, [note(1)], 1, "annotations/instances_val2017.json", "val2017")
    dataset(tmp_path, [note(1)], 1, "annotations/person_keypoints_val2017.json", "val2017")
    for location in (tmp_path, tmp_path / "annotations"):
        source = read(location)
        assert [(e.id, e.split) for e in source.entries] == [
            ("train/1", "train"),
            ("train/2", "train"),
            ("val/1", "val"),
        ]
        assert [e.planes["image"].parent.name for e in source.entries] == ["train2017", "train2017", "val2017"]
    assert any("Left alone: person_keypoints_val2017.json" in text for text in source.notes)
    assert {entry.split for entry in read(tmp_path / "annotations/instances_train2017.json").entries} == {None}


def test_a_file_in_each_splits_folder(tmp_path):
    for split in ("train", "valid", "test"):
        dataset(tmp_path / split, [note(1)], 1, "_annotations.coco.json", ".")
    source = read(tmp_path)
    assert ids(source) == ["test/1", "train/1", "val/1"]
    assert [e.planes["image"].parent.name for e in source.entries] == ["test", "train", "valid"]


@pytest.mark.parametrize("names", [("a.json", "b.json"), ("x/all.json", "y/all.json")])
def test_files_that_are_no_splits_are_not_merged_by_guess(tmp_path, names):
    for name in names:
        dataset(tmp_path, [note(1)], 1, name)
    with pytest.raises(DataError, match=r"Name (the|one) file"):
        read(tmp_path)


def test_masks_as_files_come_before_boxes_alone(tmp_path):
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}]
    dataset(tmp_path, boxes)
    assert detect_coco(str(tmp_path))
    (tmp_path / "masks").mkdir()
    for i in range(1, 4):
        Image.fromarray(pixels().astype(np.uint8) * 255).save(tmp_path / "masks" / f"{i}.png")
    assert open_source(str(tmp_path)).format == "folder"
    with pytest.raises(DataError, match=r"without outlines.*take the file of instances"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["sub/1.png", "sub\\1.png", "/data/sub/1.png", "../sub/1.PNG", "../../../etc/1.png"])
def test_file_names_with_folders_are_found_below_the_data_only(tmp_path, name):
    path = dataset(tmp_path, [note(1)], 3)
    (tmp_path / "other").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "images" / "1.png").rename(tmp_path / "sub" / "1.png")
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    source = read(tmp_path)
    assert source.entries[0].planes["image"] == tmp_path / "sub" / "1.png"
    assert ".." not in ids(source)[0]
    assert not ids(source)[0].startswith("/")


def test_the_image_beside_its_file_or_named_as_it_is_taken(tmp_path):
    dataset(tmp_path, [note(1)], 1, "annotations/train.json", "train")
    dataset(tmp_path, [note(1)], 1, "annotations/test.json", "test")
    assert [e.planes["image"].parent.name for e in read(tmp_path).entries] == ["test", "train"]


def test_images_of_one_name_that_nothing_tells_apart_are_faults(tmp_path):
    dataset(tmp_path, [note(1), note(2)], 2, folder="images/a")
    os.link(tmp_path / "images/a/1.png", tmp_path / "images/1.png")
    (tmp_path / "images/b").mkdir()
    (tmp_path / "images/1.png").rename(tmp_path / "images/b/1.png")
    source = read(tmp_path)
    assert "cannot be told which one trainval.json means" in faults(source)[0]
    with pytest.raises(DataError, match="Keep one of them"):
        first(source)
    assert source.load(source.entries[1]).mask.any()


def test_links_in_a_circle_end(tmp_path):
    dataset(tmp_path, [note(1)], 1)
    (tmp_path / "images" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert ids(read(tmp_path)) == ["1"]


# Outlines


def compressed(mask):
    from pycocotools import mask as coco

    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def uncompressed(mask):
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    stops = [*edges.tolist(), len(flat)]
    lengths = np.diff([0, *stops]).tolist()
    return {"size": list(mask.shape), "counts": [0, *lengths] if flat[0] else lengths}


@pytest.mark.parametrize("runs", [compressed, uncompressed])
def test_run_length_masks_are_drawn_as_pycocotools_does(tmp_path, runs):
    rng = np.random.default_rng(1)
    masks = [rng.random((HEIGHT, WIDTH)) < share for share in (0.02, 0.5, 0.98)]
    masks += [pixels(), ~pixels(), np.ones((HEIGHT, WIDTH), bool), pixels(0, 0, 1, 1), pixels(29, 19, 1, 1)]
    dataset(tmp_path, [note(i + 1, segmentation=runs(mask)) for i, mask in enumerate(masks)], len(masks))
    source = read(tmp_path)
    for entry, mask in zip(source.entries, masks, strict=True):
        assert (source.load(entry).mask[0] == mask).all()


@pytest.mark.parametrize("runs", [compressed, uncompressed])
def test_the_box_of_a_run_length_mask_is_known_without_bbox(tmp_path, runs):
    masks = [pixels(2, 3, 9, 5), pixels(0, 0, 6, 20), pixels(3, 3, 2, 2) | pixels(10, 10, 4, 9)]
    dataset(tmp_path, [note(i + 1, segmentation=runs(mask)) for i, mask in enumerate(masks)])
    assert ids(read(tmp_path, min_box=5)) == ["1", "2", "3"]
    with pytest.raises(DataError, match=r"2 with a box of at least 6 × 6 px \(--min-box 6\)\. Enough.*--min-box 5 \(3"):
        read(tmp_path, min_box=6)


def test_polygons_are_drawn_as_ann_to_mask_does(tmp_path):
    from pycocotools import mask as coco

    rng = np.random.default_rng(2)
    shapes = [[(rng.random((n, 2)) * (WIDTH, HEIGHT)).ravel().tolist() for n in (3, 7)] for _ in range(5)]
    dataset(tmp_path, [note(i + 1, segmentation=shape) for i, shape in enumerate(shapes)], 5)
    source = read(tmp_path)
    for entry, shape in zip(source.entries, shapes, strict=True):
        expected = coco.decode(coco.merge(coco.frPyObjects(shape, HEIGHT, WIDTH)))
        assert (source.load(entry).mask[0] == expected).all()


def test_polygons_partly_outside_are_cut_at_the_edge(tmp_path):
    dataset(tmp_path, [note(1, segmentation=square(-8, -6, 14, 12))])
    assert (first(read(tmp_path)).mask[0] == pixels(0, 0, 6, 6)).all()


def test_crowds_are_unknown_except_where_an_instance_is(tmp_path):
    crowd = note(1, segmentation=uncompressed(pixels(0, 0, 12, 12)), iscrowd=1)
    dataset(tmp_path, [note(1), crowd, note(2, iscrowd=1)])
    source = read(tmp_path)
    assert ids(source) == ["1"]  # of the second image nothing is known
    sample = first(source)
    assert (sample.mask[0] == pixels()).all()
    assert (~sample.mask_valid == pixels(0, 0, 12, 12) & ~pixels()).all()
    assert "count as unknown" in source.notes[-1]


def test_a_crowd_of_another_category_is_background(tmp_path):
    dataset(tmp_path, [*(note(i) for i in (1, 2, 3)), note(1, 3, square(0, 0, 3, 3), iscrowd=1)])
    assert first(read(tmp_path, categories=("person",))).mask_valid is None


def test_a_box_without_outline_is_unknown(tmp_path):
    box = {"image_id": 1, "category_id": 1, "bbox": [20.5, 2, 4, 4]}
    dataset(tmp_path, [note(1), {**box, "segmentation": []}, box])
    source = read(tmp_path)
    assert (~first(source).mask_valid == pixels(20, 2, 5, 4)).all()
    assert "2 annotation(s) have no segmentation, so their boxes count as unknown (id 101, 102)" in faults(source)[0]
    assert not source.faults[0].fatal


# Categories and filters


def test_each_category_has_a_plane_and_joined_ones_share_it(tmp_path):
    dataset(tmp_path, [note(1), note(1, 3, square(0, 0, 3, 3)), note(1, 7, square(20, 10, 5, 5)), note(2, 3), note(3)])
    person, dog, last = pixels(), pixels(0, 0, 3, 3), pixels(20, 10, 5, 5)
    for chosen, classes, planes in [
        (("DOG", "1"), ("Dog", "person"), [dog, person]),
        (("person+dog",), ("figure",), [person | dog]),
        (("hot+cold", "3+1"), ("hot+cold", "Dog+person"), [last, dog | person]),
        (("person", "person+Dog"), ("person", "person+Dog"), [person, person | dog]),
        (("dog", "Dog", "3", "person"), ("Dog", "person"), [dog, person]),
    ]:
        source = read(tmp_path, categories=chosen)
        assert source.classes == classes
        assert (first(source).mask == np.array(planes)).all()
    with pytest.raises(UsageError, match=r"unknown category 'persn'. Did you mean 'person'\? Known: Dog, hot\+cold"):
        read(tmp_path, categories=("persn",))


def test_single_instance_counts_crowds_and_all_chosen_categories(tmp_path):
    annotations = [note(1), note(2), note(2, 3), note(3), note(3), note(4), note(4, iscrowd=1), note(5, 3), note(6)]
    dataset(tmp_path, annotations, 7)
    assert ids(read(tmp_path, single_instance=True)) == ["1", "5", "6"]
    assert ids(read(tmp_path, single_instance=True, categories=("person+dog",))) == ["1", "5", "6"]
    assert ids(read(tmp_path, single_instance=True, categories=("person",))) == ["1", "2", "6"]


def test_min_box_leaves_smaller_instances_unknown(tmp_path):
    small = note(1, segmentation=square(20, 0, 4, 4))
    dataset(tmp_path, [note(1), small, note(2), note(3), note(4, segmentation=square(0, 0, 20, 7))], 4)
    source = read(tmp_path, min_box=8)
    assert ids(source) == ["1", "2", "3"]
    assert (~first(source).mask_valid == pixels(20, 0, 4, 4)).all()
    assert (first(source).mask[0] == pixels()).all()


def test_too_few_are_refused_with_each_count_and_what_would_be_enough(tmp_path):
    annotations = [note(i) for i in (1, 2, 3, 4)] + [note(4), note(5, 3), note(5, 3), note(6, 3)]
    annotations[0] = note(1, bbox=[0, 0, 15, 16])
    dataset(tmp_path, annotations, 8)
    with pytest.raises(DataError) as error:
        read(tmp_path, categories=("person",), single_instance=True, min_box=15)
    text = str(error.value)
    assert "1 image is left" in text
    assert "8 listed; 4 with person; 3 with exactly one (--single-instance); 1 whose box is at least 15 × 15 px" in text
    assert "Enough would be: --min-box 8 (3 images); no --min-box (3 images); neither of the two (4 images)" in text
    assert "most images have Dog (2)" in text


def test_options_for_instances_are_refused_for_other_data():
    with pytest.raises(UsageError, match=r"--categories, --min-box: scenes:6 is read as 'scenes'.*for coco"):
        open_source("scenes:6", DataOptions(categories=("a",), min_box=3))


def test_settings_read_the_options_as_they_are_typed():
    given = {"location": "x", "categories": " person, dog+cat ,person", "single_instance": True, "min_box": 60}
    settings = settings_from(given, StudySettings)
    options = settings.data.options(None, 0)
    assert (options.categories, options.single_instance, options.min_box) == (("person", "dog+cat"), True, 60)
    assert StudySettings(**settings.model_dump(mode="json")) == settings
    for wrong in ({"categories": ","}, {"categories": ""}, {"min_box": 0}):
        with pytest.raises(UsageError, match=r"--(categories|min-box)"):
            settings_from({"location": "x", **wrong}, StudySettings)


def test_sources_cross_processes(tmp_path):
    dataset(tmp_path, [note(1)])
    source = pickle.loads(pickle.dumps(read(tmp_path)))
    assert first(source).mask.any()


# Bad input


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"images": [], "annotations": []}', "lacks categories"),
        (
            '[{"image_id": 1, "category_id": 1, "score": 0.5}]',
            r"lacks images, annotations, categories \(found: a list\)",
        ),
        ('{"images": 3, "annotations": {}, "categories": []}', "lacks images, annotations"),
        ('{"images": [{"id": 1', "cannot be read as JSON at line 1.*cut short"),
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"images": [], "annotations": [], "categories": []}', "has no annotation of its 0 images"),
        ('{"images": [], "annotations": [], "categories": [{"name": "a"}]}', "has no id"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "'b' here",
        ),
        (
            '{"images": [], "annotations": [{"image_id": 4}], "categories": []}',
            "all 1 belong to images that it does not",
        ),
        ("\x80\x81", "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_not_cocos_says_what_it_lacks(tmp_path, text, why):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=why):
        read(path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="has no COCO annotations"):
        read(tmp_path)


def test_without_pycocotools_the_extra_is_named(tmp_path, monkeypatch):
    dataset(tmp_path, [note(1)])
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install \"basrelief\[coco\]\""):
        read(tmp_path)


def test_images_that_are_missing_are_faults_and_none_at_all_is_an_error(tmp_path):
    dataset(tmp_path, [note(1), note(2)])
    (tmp_path / "images/1.png").unlink()
    source = read(tmp_path)
    assert "1.png: is not there; trainval.json lists it. Add the image" in faults(source)[0]
    with pytest.raises(DataError, match="is not there"):
        first(source)
    assert inspect_source(source).usable == 1
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"none of the 3 images is below.*1\.png.*Put the folder"):
        read(tmp_path)


def test_orphans_are_counted(tmp_path):
    dataset(tmp_path, [note(1), note(50), note(51), {"id": 9}, "text", None])
    source = read(tmp_path)
    assert ids(source) == ["1"]
    assert "5 annotation(s) belong to images that it does not list (id 101, 102, 9, none, none)" in faults(source)[0]


def test_ids_as_text_mean_the_same(tmp_path):
    dataset(tmp_path, [note("1", "3"), note("2", 3.0), note(3, 3)])
    assert ids(read(tmp_path, categories=("dog",))) == ["1", "2", "3"]


@pytest.mark.parametrize("category", [99, None, [1], {}, True])
def test_a_category_that_is_not_named_is_unknown_and_not_background(tmp_path, category):
    dataset(tmp_path, [note(1), note(2), note(3), note(1, category, square(20, 0, 4, 4))])
    source = read(tmp_path, categories=("person",))
    assert (~first(source).mask_valid == pixels(20, 0, 4, 4)).all()
    assert "category that it does not name" in faults(source)[0]


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ([], "no segmentation"),
        ([[]], "no segmentation"),
        (None, "no segmentation"),
        ([[1, 1, 5, 5]], "fewer than 3 points"),  # pycocotools would take four numbers for a box
        ([[1, 1, 5, 1, 9, 1]], "without area"),
        (square(40, 4), "lie outside"),
        (square(-20, 4), "lie outside"),
        ({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, "empty run-length"),
    ],
)
def test_what_marks_nothing_is_left_out_and_said(tmp_path, shape, why):
    bad = note(1)
    bad["segmentation"] = shape
    dataset(tmp_path, [note(1), bad])
    source = read(tmp_path)
    assert why in faults(source)[0]
    assert not source.faults[0].fatal
    assert first(source).mask_valid is None
    assert (first(source).mask[0] == pixels()).all()
    content = json.loads((tmp_path / "trainval.json").read_text())
    content["annotations"][1]["bbox"] = [20, 0, 4, 4]
    (tmp_path / "trainval.json").write_text(json.dumps(content))
    assert (~first(read(tmp_path)).mask_valid == pixels(20, 0, 4, 4)).all()


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ([[1, 1, 5, 5, 9]], "x and y in turn"),
        ([[1, 1, 5, float("nan"), 9, 1]], "finite"),
        ([[1, 1, 5, "a", 9, 1]], "finite"),
        ([[1, 1, 5, 10**400, 9, 1]], "finite"),
        ([[[1, 2], [3, 4], [5, 9]]], "x and y in turn"),
        ("text", "neither polygons"),
        (7, "neither polygons"),
        ({}, "without the image's size"),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 90]}, "do not fill"),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]}, "cannot be read"),
        ({"size": [HEIGHT, WIDTH], "counts": [0.5, HEIGHT * WIDTH - 0.5]}, "cannot be read"),
        ({"size": [HEIGHT, WIDTH], "counts": None}, "cannot be read"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "cannot be read"),
        ({"size": [HEIGHT, WIDTH], "counts": "PPPP"}, "cannot be read"),
        ({"size": [HEIGHT, WIDTH], "counts": "ooooooooooooooo0"}, "cannot be read"),
        ({"size": [HEIGHT, WIDTH], "counts": "€"}, "cannot be read"),
        ({"size": [HEIGHT, WIDTH], "counts": "00"}, "do not fill"),
        ({"size": [WIDTH, HEIGHT], "counts": [0, HEIGHT * WIDTH]}, "run-length mask of 20 × 30 pixels, of an image"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "reaches far outside.*width and height"),
        ([[0, 0, 640, 0, 640, 480, 0, 480]], "reaches far outside"),
    ],
)
def test_outlines_that_cannot_be_trusted_break_their_image_and_no_other(tmp_path, shape, why):
    dataset(tmp_path, [note(1, segmentation=shape), note(2)])
    source = read(tmp_path)
    assert ids(source) == ["2"]
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(faults(source)[0])
    assert source.faults[0].fatal
    assert "1.png" in source.faults[0].file
    assert first(source).mask.any()
    dataset(tmp_path, [note(1), note(1, segmentation=shape), note(2)])
    source = read(tmp_path)
    with pytest.raises(DataError, match=r"1\.png: has an annotation \(id 101\)"):
        first(source)
    assert inspect_source(source).usable == 1


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], [1, 1, -4, 5], [100, 100, 5, 5], ["a", 1, 2, 3], "x", {"x": 1}])
def test_a_box_that_is_none_is_taken_from_the_outline(tmp_path, box):
    dataset(tmp_path, [note(i, bbox=box) for i in (1, 2, 3)])
    assert ids(read(tmp_path, min_box=8)) == ["1", "2", "3"]


def test_image_ids_and_files_listed_twice(tmp_path):
    path = dataset(tmp_path, [note(1), note(2), note(3), note(4), note(9)], 5)
    content = json.loads(path.read_text())
    one, two, three, four, five = content["images"]
    content["images"] = [one, one, two, {**three, "id": 2}, four, {**four, "id": 9}, {**five, "id": None}, 3, {"id": 8}]
    path.write_text(json.dumps(content))
    source = read(tmp_path)
    assert ids(source) == ["1", "4", "4#9"]
    assert first(source).mask.any()
    with pytest.raises(DataError, match=r"4\.png: is listed twice \(4 in trainval.json, 4#9 in trainval.json\)"):
        source.load(source.entries[1])
    text = " ".join(faults(source))
    assert "3 image(s) have no id or no file_name" in text
    assert "the image id 2 stands for several images" in text
    assert "1 annotation(s) belong to images that it does not list (id 102)" in text


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path):
    dataset(tmp_path, [note(1), note(2), note(3)])
    Image.new("RGB", (WIDTH * 2, HEIGHT * 2)).save(tmp_path / "images/1.png")
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "images/2.png")
    source = read(tmp_path)
    with pytest.raises(DataError, match=r"1\.png: is 60 × 40 pixels, and trainval.json describes it with 30 × 20"):
        first(source)
    with pytest.raises(DataError, match="orientation noted in EXIF"):
        source.load(source.entries[1])


@pytest.mark.parametrize("side", [None, "20", 0, -5, float("inf"), [20]])
def test_without_a_stated_size_the_images_own_counts(tmp_path, side):
    path = dataset(tmp_path, [note(1), note(2, segmentation=square(2, 2, 3, 3))])
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["height"] = side
    path.write_text(json.dumps(content))
    (tmp_path / "images/2.png").write_bytes(b"broken")
    source = read(tmp_path)
    assert (first(source).mask[0] == pixels()).all()
    assert "2.png" in faults(source)[0]


def test_names_with_spaces_marks_and_other_letters(tmp_path):
    path = dataset(tmp_path, [note(1), note(2)], 2)
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "Cafe\u0301 1.jpg.PNG"
    content["images"][1]["file_name"] = "a\0b.png"
    path.write_text(json.dumps(content))
    (tmp_path / "images/1.png").rename(tmp_path / "images" / "caf\u00e9 1.jpg.png")
    source = read(tmp_path)
    assert ids(source) == ["a?b", "Caf\u00e9 1.jpg"]
    assert source.load(source.entries[1]).mask.any()
    assert "a?b.png: is not there" in faults(source)[0]


def test_the_reports_command_has_the_options_as_they_are_typed():
    typed = [
        word
        for name, value in (("categories", ["person", "dog+cat"]), ("min_box", 60))
        for word in _option(name, value)
    ]
    assert typed == ["--categories", "person,dog+cat", "--min-box", "60"]
    assert _option("single_instance", True) == ["--single-instance"]
    assert _option("single_instance", False) == []
