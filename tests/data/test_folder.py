from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.data.folder import detect_folder, read_folder
from basrelief.data.source import DataOptions
from basrelief.errors import DataError, UsageError
from support import write_folder

RNG = np.random.default_rng(0)


def picture(height=12, width=16):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask(height=12, width=16, value=255):
    result = np.zeros((height, width), np.uint8)
    result[4:8, 5:10] = value
    return result


def depth(height=12, width=16):
    return (1000 + np.arange(height * width).reshape(height, width)).astype(np.uint16)


def put(path: Path, array=None):
    """Write what the name asks for: an image, a mask, depth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        name = str(path).lower()
        array = mask() if "mask" in name or "label" in name else depth() if "dep" in name else picture()
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def tree(root: Path, *names: str):
    for name in names:
        put(root / name)
    return root


def read(root: Path, **options):
    return read_folder(str(root), DataOptions(**options))


def ids(source):
    return [entry.id for entry in source.entries]


@pytest.fixture
def plain(tmp_path):
    return tree(tmp_path, *(f"images/x{i}.jpg" for i in range(1, 12)), *(f"masks/x{i}.png" for i in range(1, 12)))


def test_images_and_masks_in_natural_order(plain):
    source = read(plain)
    assert ids(source) == [f"x{i}" for i in range(1, 12)]
    assert source.targets == ("mask",)
    assert source.classes == ("figure",)
    assert source.notes == ("Masks: 0 is background, 255 the figure (11 masks looked at).",)
    assert source.faults == ()
    assert source.depth_unit is None
    assert not source.background
    sample = source.load(source.entries[0])
    assert sample.image.shape == (12, 16, 3)
    assert (sample.mask[0] == mask() // 255).all()
    assert sample.mask_valid is None
    assert sample.depth is None


@pytest.mark.parametrize("image", ["images", "Image", "IMGS", "img", "rgb", "fg_bg"])
@pytest.mark.parametrize("target", ["mask", "Masks", "labels", "depth", "Depth_Maps", "depths"])
def test_common_spellings(tmp_path, image, target):
    source = read(tree(tmp_path, f"{image}/a.png", f"{image}/b.png", f"{target}/a.png", f"{target}/b.png"))
    assert ids(source) == ["a", "b"]
    assert source.targets == (("depth",) if "dep" in target.lower() else ("mask",))
    assert detect_folder(tmp_path)


@pytest.mark.parametrize(
    ("image", "target"),
    [
        ("a.jpg", "a_mask.png"),
        ("a_image.jpg", "a_mask.png"),
        ("image_7.jpg", "mask_7.png"),
        ("fg_bg_7.jpg", "fg_bg_mask_7.png"),
        ("A-rgb.jpg", "a-seg.png"),
        ("sub/a.jpg", "sub/a.png"),
        ("sub.1/a.b.jpg", "sub.1/a.b_labels.png"),
    ],
)
def test_names_pair_without_what_marks_the_plane(tmp_path, image, target):
    source = read(tree(tmp_path, f"images/{image}", f"masks/{target}"))
    assert ids(source) == [image[: -len(".jpg")]]
    assert "mask" in source.entries[0].planes


def test_exact_names_win_over_similar_ones(tmp_path):
    root = tree(tmp_path, "images/1.png", "images/img_1.png", "masks/1.png", "masks/img_1.png")
    assert {e.id: e.planes["mask"].stem for e in read(root).entries} == {"1": "1", "img_1": "img_1"}


def test_one_folder_with_suffixes(tmp_path):
    root = tree(tmp_path, "a.jpg", "a_mask.png", "a_depth.png", "b.jpg", "b_mask.png", "c.jpg", "c_depth.npy")
    source = read(root)
    assert [(e.id, sorted(e.planes)) for e in source.entries] == [
        ("a", ["depth", "image", "mask"]),
        ("b", ["image", "mask"]),
        ("c", ["depth", "image"]),
    ]
    assert source.targets == ("mask", "depth")
    sample = source.load(source.entries[2])
    assert sample.mask is None
    assert (sample.depth == depth()).all()


def test_photographs_beside_exact_files_of_the_same_name(tmp_path):
    put(tmp_path / "k" / "a.jpg")
    Image.fromarray(mask() == 0).save(tmp_path / "k" / "a.pbm")
    source = read(tree(tmp_path, "k/b.jpg", "k/b_mask.png"))
    assert ids(source) == ["a", "b"]
    assert all("mask" in entry.planes for entry in source.entries)


@pytest.mark.parametrize("outer", [True, False])
def test_ready_made_splits_are_kept(tmp_path, outer):
    for split in ("train", "valid", "Test"):
        for name in ("a", "b"):
            for plane in ("images", "masks"):
                put(tmp_path / (f"{split}/{plane}" if outer else f"{plane}/{split}") / f"{name}.png", None)
    source = read(tmp_path)
    assert [(e.id, e.split) for e in source.entries] == [
        (f"{split}/{name}", split) for split in ("test", "train", "val") for name in ("a", "b")
    ]
    assert detect_folder(tmp_path)


def test_a_wrapping_folder_and_files_of_the_system(tmp_path):
    root = tree(tmp_path, "data/images/a.png", "data/masks/a.png", "data/images/._a.png", "__MACOSX/images/a.png")
    (root / "data/images/Thumbs.db").write_bytes(b"x")
    (root / "data/images/notes.txt").write_bytes(b"x")
    source = read(root)
    assert ids(source) == ["a"]
    assert source.notes[-1] == "Files of other types were left alone: 1 .txt."


def test_the_folder_that_agrees_with_the_images_is_taken(tmp_path):
    source = read(tree(tmp_path, "images/a.png", "images/b.png", "mask/z.png", "labels/a.png", "labels/b.png"))
    assert source.notes[0] == "Masks are taken from labels/; mask/ left alone."
    assert source.faults == ()


def test_sources_cross_processes(plain):
    source = pickle.loads(pickle.dumps(read(plain)))
    assert source.load(source.entries[0]).mask is not None


# Backgrounds


def test_backgrounds_by_name(tmp_path):
    source = read(tree(tmp_path, *(f"{p}/{n}.png" for p in ("images", "masks", "backgrounds") for n in "ab")))
    assert source.background
    assert source.load(source.entries[0]).background.shape == (12, 16, 3)
    assert {entry.group for entry in source.entries} == {None}


def test_backgrounds_by_prefix_make_groups(tmp_path):
    names = ["room1_001", "room1_002", "room10_001", "room10_002"]
    root = tree(
        tmp_path, *(f"{p}/{n}.png" for p in ("images", "masks") for n in names), "bg/room1.png", "bg/room10.png"
    )
    source = read(root)
    assert [entry.planes["background"].stem for entry in source.entries] == ["room1", "room1", "room10", "room10"]
    assert source.entries[0].group == source.entries[1].group != source.entries[2].group
    source = read(root, background=False)
    assert not source.background
    assert "background" not in source.entries[0].planes
    assert source.entries[0].group is not None  # the leak is there, used or not


def test_one_background_serves_all(tmp_path):
    source = read(tree(tmp_path, *(f"{p}/{n}.png" for p in ("images", "masks") for n in "ab"), "background/empty.jpg"))
    assert source.background
    assert "Backgrounds: empty.jpg serves all images." in source.notes


def test_an_image_without_background_is_named(tmp_path):
    root = tree(tmp_path, *(f"{p}/{n}.png" for p in ("images", "masks") for n in "abc"), "bg/a.png", "bg/b.png")
    source = read(root)
    assert not source.background
    assert "1 of 3 images have none" in source.notes[0]
    assert "c.png: has no background. Add it" in str(source.faults[0])
    assert not source.faults[0].fatal


def test_splits_have_their_own_backgrounds_or_share_them(tmp_path):
    for split in ("train", "test"):
        tree(tmp_path, f"{split}/images/r1_1.png", f"{split}/masks/r1_1.png", f"{split}/images/s_1.png")
        tree(tmp_path, f"{split}/masks/s_1.png", f"{split}/bg/r1.png")
    put(tmp_path / "bg" / "s.png")
    used = [entry.planes["background"].relative_to(tmp_path).as_posix() for entry in read(tmp_path).entries]
    assert used == ["test/bg/r1.png", "bg/s.png", "train/bg/r1.png", "bg/s.png"]


# Depth


def test_depth_is_scaled_and_its_unit_and_kind_are_said(tmp_path):
    root = tree(tmp_path, "images/a.png", "depths/a.png")
    source = read(root)
    assert (source.depth_unit, source.depth_kind) == ("", "relative")
    assert "--depth-scale 0.001 --depth-unit m" in source.notes[0]
    source = read(root, depth_scale=0.001)
    assert (source.depth_unit, source.depth_kind) == ("m", "metric")
    assert "taken as metres" in source.notes[0]
    np.testing.assert_allclose(source.load(source.entries[0]).depth, depth() / 1000, rtol=1e-6)
    source = read(root, depth_unit="mm", depth_kind="disparity")
    assert (source.depth_unit, source.depth_kind) == ("mm", "disparity")
    assert read(tree(tmp_path / "d", "images/a.png", "disparity/a.npy")).depth_kind == "disparity"


def test_invalid_stored_values_and_depth_beyond_the_maximum_are_unknown(tmp_path):
    stored = depth()
    stored[0], stored[1] = 0, 65535
    root = tree(tmp_path, "images/a.png")
    put(root / "depths/a.png", stored)
    source = read(root, depth_scale=0.001, depth_invalid=(0, 65535), depth_max=1.1)
    found = source.load(source.entries[0]).depth
    assert np.isnan(found[:2]).all()
    assert (np.isnan(found) == ((stored == 0) | (stored * np.float32(0.001) > 1.1))).all()
    assert source.faults == ()


def test_frequent_values_that_may_mean_unknown_are_pointed_out(tmp_path):
    stored = depth()
    stored[0], stored[1] = 0, 65535
    root = tree(tmp_path, "images/a.png")
    put(root / "depths/a.png", stored)
    problems = [str(fault) for fault in read(root).faults]
    assert "value 0 at 8.3%" in problems[0]
    assert "--depth-invalid 0." in problems[0]
    assert "--depth-invalid 65535." in problems[1]


def test_nan_in_npy_is_unknown_and_all_nan_is_an_error(tmp_path):
    root = tree(tmp_path, "images/a.png", "images/b.png")
    partly = depth().astype(np.float32)
    partly[0, 0], partly[0, 1] = np.nan, np.inf
    put(root / "depths/a.npy", partly)
    put(root / "depths/b.npy", np.full((12, 16), np.nan))
    source = read(root)
    assert np.isnan(source.load(source.entries[0]).depth).sum() == 2
    with pytest.raises(DataError, match=r"b\.npy.*no known depth.*NaN.*Export it again"):
        source.load(source.entries[1])


@pytest.mark.parametrize("shape", [(6, 8), (24, 32), (3, 4), (12, 16)])
def test_depth_of_another_size_and_the_same_aspect(tmp_path, shape):
    root = tree(tmp_path, "images/a.png")
    put(root / "depths/a.png", depth(*shape))
    source = read(root)
    assert source.faults == ()
    assert source.load(source.entries[0]).depth.shape == shape


def test_depth_of_another_aspect_is_named_with_both_sizes(tmp_path):
    root = tree(tmp_path, "images/a.png", "images/b.png", "depths/b.png")
    put(root / "depths/a.png", depth(12, 12))
    source = read(root)
    assert "a.png: is 12 × 12 pixels, and its image a.png is 16 × 12: another aspect" in str(source.faults[0])
    with pytest.raises(DataError, match=r"aspect ratio. Cut both"):
        source.load(source.entries[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [({"depth_scale": 0.0}, "--depth-scale 0"), ({"depth_kind": "metrical"}, "metric, relative, disparity")],
)
def test_depth_options_that_make_no_sense(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        read(tree(tmp_path, "images/a.png", "depths/a.png"), **options)


# Masks


def test_classes_file_names_the_planes(tmp_path):
    root = tree(tmp_path, "images/a.png", "images/b.png")
    for name in "ab":
        put(root / f"masks/{name}.png", mask(value=1) + mask(12, 16, 1)[::-1] * 2)
    (root / "classes.txt").write_text("background\ncat\ndog\ncow\n")
    assert read(root).classes == ("cat", "dog", "cow")


def test_palettes_of_different_order_go_by_colour(tmp_path):
    root = tree(tmp_path, "images/a.png", "images/b.png")
    for name, values, palette in (
        ("a", mask(value=1), [0, 0, 0, 200, 0, 0]),
        ("b", 1 - mask(value=1), [200, 0, 0, 0, 0, 0]),
    ):
        stored = Image.fromarray(values)
        stored.putpalette([*palette, 0, 0, 9])
        (root / "masks").mkdir(exist_ok=True)
        stored.save(root / f"masks/{name}.png")
    source = read(root)
    for entry in source.entries:
        assert (source.load(entry).mask[0] == mask(value=1)).all()


def test_options_overrule_what_the_masks_look_like(plain):
    source = read(plain, mask_map={0: "ball", 255: "background"})
    assert source.classes == ("ball",)
    assert (source.load(source.entries[0]).mask[0] == (mask() == 0)).all()
    source = read(plain, invert_masks=True)
    assert (source.load(source.entries[0]).mask[0] == (mask() == 0)).all()


def test_a_rare_class_is_found_in_a_large_folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    image = Image.fromarray(picture(4, 4))
    for i in range(301):
        image.save(tmp_path / f"images/{i}.png")
        values = np.zeros((4, 4), np.uint8)
        values[:2, :2], values[2:, 2:] = 1, 2
        if i == 298:
            values[0] = 3
        Image.fromarray(values).save(tmp_path / f"masks/{i}.png")
    assert len(read(tmp_path).classes) == 3


# Bad input: one message that names the file or the word, says what was expected and what to do


def test_a_folder_that_is_missing_a_file_or_empty(tmp_path):
    with pytest.raises(DataError, match=r"nowhere is not there.*images/"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"empty: it holds no image.*images/ beside masks/"):
        read(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt is no folder"):
        read(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"only files of type \.txt.*PNG, JPEG or TIFF"):
        read(tmp_path)
    assert not detect_folder(tmp_path)


@pytest.mark.parametrize("names", [("images/a.png", "images/b.png"), ("a.png", "b.png"), ("images/a.png", "bg/a.png")])
def test_neither_masks_nor_depths(tmp_path, names):
    with pytest.raises(DataError, match=r"neither masks nor depth maps.*masks/ or depths/.*add them"):
        read(tree(tmp_path, *names))


def test_labels_that_are_no_pictures_are_mentioned(tmp_path):
    tree(tmp_path, "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match=r"neither masks nor depth maps.*files of type \.txt"):
        read(tmp_path)


def test_masks_without_images(tmp_path):
    with pytest.raises(DataError, match=r"no folder of images \(found: masks/\).*rename"):
        read(tree(tmp_path, "masks/a.png"))


def test_names_that_do_not_agree(tmp_path):
    with pytest.raises(DataError, match=r"a\.png.*there is.*z\.png.*rename"):
        read(tree(tmp_path, "images/a.png", "masks/z.png"))


def test_a_mask_without_its_image_and_an_image_without_target(plain):
    put(plain / "masks/lonely.png")
    put(plain / "images/bare.jpg")
    source = read(plain)
    faults = [str(fault) for fault in source.faults]
    assert any("lonely.png: is a mask without its image; expected images/lonely.jpg or .png. Add" in f for f in faults)
    assert any("bare.jpg: has neither mask nor depth map and is left out. Add one" in f for f in faults)
    assert not any(fault.fatal for fault in source.faults)
    assert "bare" not in ids(source)


def test_a_mask_of_another_size_states_both(plain):
    put(plain / "masks/x1.png", mask(8, 8))
    put(plain / "masks/x2.png", mask(16, 12))
    source = read(plain)
    assert "x1.png: is 8 × 8 pixels, and its image x1.jpg is 16 × 12. Save both" in str(source.faults[0])
    assert "EXIF" in str(source.faults[1])
    assert all(fault.fatal for fault in source.faults)
    with pytest.raises(DataError, match=r"8 × 8"):
        source.load(source.entries[0])
    assert source.load(source.entries[2]).mask is not None


def test_two_images_or_masks_of_one_name(plain):
    put(plain / "images/x1.png")
    put(plain / "masks/x2.bmp", mask())
    source = read(plain)
    faults = [str(fault) for fault in source.faults]
    assert any("x1.jpg" in f and "x1.png" in f and "Keep one of the two" in f for f in faults)
    assert any("x2.bmp" in f and "x2.png" in f for f in faults)
    for entry in source.entries[:2]:
        with pytest.raises(DataError, match="same name"):
            source.load(entry)


def test_all_faults_are_listed_at_once_and_loading_finds_the_same(plain):
    (plain / "images/x1.jpg").write_bytes(b"")
    (plain / "images/x2.jpg").write_bytes(b"no image")
    (plain / "masks/x3.png").write_bytes(b"")
    data = (plain / "masks/x4.png").read_bytes()
    (plain / "masks/x4.png").write_bytes(data[:60])
    source = read(plain)
    assert len(source.entries) == 11
    for name, words in (
        ("x1.jpg", "zero bytes"),
        ("x2.jpg", "known file format"),
        ("x3.png", "zero"),
        ("x4.png", "trunc"),
    ):
        assert any(name in str(fault) and words in str(fault) for fault in source.faults), name
    for entry in source.entries[:4]:
        with pytest.raises(DataError) as caught:
            source.load(entry)
        assert caught.value.fault in source.faults


def test_all_empty_masks_end_in_one_message_with_the_other_faults(plain):
    for path in (plain / "masks").iterdir():
        put(path, np.zeros((12, 16), np.uint8))
    (plain / "images/x1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)masks: all masks are empty or full.*Also found:.*x1\.jpg.*zero bytes"):
        read(plain)


def test_soft_masks_are_named(plain):
    soft = np.repeat(np.linspace(0, 255, 16).astype(np.uint8)[None], 12, 0)
    put(plain / "masks/x1.png", soft)
    for i in range(2, 12):
        noisy = mask()
        noisy[4, 5:10] = [70, 90, 110, 130, 150]
        put(plain / f"masks/x{i}.png", noisy)
    source = read(plain)
    assert any("x1.png: is soft: " in str(fault) and "cut at half" in str(fault) for fault in source.faults)
    with pytest.raises(DataError, match=r"x1\.png: is mostly grey"):
        source.load(source.entries[0])


def test_detection_leaves_other_folders_alone(tmp_path):
    tree(tmp_path, "train2017/a.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "x.json").write_text("{}")
    assert not detect_folder(tmp_path)
    assert not detect_folder(tmp_path / "nothing")


def test_a_second_folder_of_images_is_left_alone_and_named(tmp_path):
    root = write_folder(tmp_path, 4)
    (root / "rgb").mkdir()
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(root / "rgb" / "00.png")
    assert "Images are taken from images/; rgb/ left alone." in open_source(str(root)).notes


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    root = write_folder(tmp_path, 4)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied.*permissions"):
        open_source(str(root))


def test_a_closed_folder_is_named_and_not_a_file_that_was_looked_for_in_it(tmp_path, monkeypatch):
    root = write_folder(tmp_path, 4)

    def refuse(path):
        raise PermissionError(13, "Permission denied", f"{path}/images")

    monkeypatch.setattr("os.scandir", refuse)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DataError, match=rf"^{re.escape(str(root))} cannot be read: Permission denied"):
        open_source(str(root))


def test_a_table_beside_images_without_masks_is_pointed_out(tmp_path):
    root = write_folder(tmp_path, 4)
    (root / "images").rename(tmp_path / "alone")
    (tmp_path / "alone" / "list.csv").write_text("image,mask\n")
    with pytest.raises(DataError, match=r"give it as DATA: .*list\.csv\."):
        open_source(str(tmp_path / "alone"))


def test_images_in_the_root_beside_a_folder_of_masks(tmp_path):
    root = write_folder(tmp_path, 4)
    for path in (root / "images").iterdir():
        path.rename(root / path.name)
    (root / "images").rmdir()
    (root / "others").mkdir()
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(root / "others" / "00.png")
    source = open_source(str(root))
    assert [entry.id for entry in source.entries] == ["00", "01", "02", "03"]
    assert source.load(source.entries[0]).mask.any()
