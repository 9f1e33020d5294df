from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.data.inspect import inspect_source
from basrelief.data.source import DataOptions
from basrelief.data.yolo import detect_yolo, read_yolo
from basrelief.errors import DataError
from outlines import CORNERS, HEIGHT, WIDTH, write_yolo

LINE = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in CORNERS)
CORNER = "0 0 0.1 0 0.1 0.15 0 0.15"


@pytest.fixture
def plain(tmp_path):
    return write_yolo(tmp_path, 4)


def read(root, **options):
    return read_yolo(str(root), DataOptions(**options))


def first(source):
    return source.load(source.entries[0])


def write(root, *lines, name="00"):
    (root / "labels" / f"{name}.txt").write_text("\n".join(lines))


def test_polygons_are_scaled_to_their_image(plain):
    source = open_source(str(plain))
    assert source.format == "yolo"
    assert [entry.id for entry in source.entries] == ["00", "01", "02", "03"]
    mask = first(source).mask[0].astype(bool)
    assert mask[4:12, 5:15].all()
    assert mask.sum() <= 9 * 11  # Pillow draws the outline's own pixels as well
    assert "Names of categories: data.yaml." in source.notes


def test_an_outline_that_crosses_itself_is_filled_even_odd(plain):
    """A star of five strokes: its middle is crossed twice."""
    angles = [2 * np.pi * 2 * i / 5 for i in range(5)]
    points = [(0.5 + 0.5 * np.sin(a), 0.5 - 0.5 * np.cos(a)) for a in angles]
    write(plain, "0 " + " ".join(f"{x} {y}" for x, y in points))
    mask = first(read(plain)).mask[0]
    assert mask.any()
    assert mask[HEIGHT // 2, WIDTH // 2] == 0


@pytest.mark.parametrize("outer", [True, False])
def test_splits_are_those_of_the_folders(tmp_path, outer):
    for split in ("train", "valid"):
        inner = write_yolo(tmp_path / "made" / split, 2)
        for plane in ("images", "labels"):
            place = tmp_path / "data" / (f"{split}/{plane}" if outer else f"{plane}/{split}")
            place.parent.mkdir(parents=True, exist_ok=True)
            (inner / plane).rename(place)
    assert detect_yolo(str(tmp_path / "data"))
    source = read(tmp_path / "data")
    ids = ["train/00", "train/01", "val/00", "val/01"]
    assert [(e.id, e.split) for e in source.entries] == [(name, name.partition("/")[0]) for name in ids]


def test_names_choose_categories_and_numbers_do_without_them(plain):
    write(plain, f"0 {LINE}", "1 " + CORNER)
    (plain / "data.yaml").write_text("names:\n  0: block\n  1: corner\n")
    assert read(plain, categories=("corner", "block")).classes == ("corner", "block")
    (plain / "data.yaml").unlink()
    source = read(plain, categories=("0", "1"))
    assert first(source).mask.any(axis=(1, 2)).all()


def test_a_box_is_unknown(plain):
    write(plain, f"0 {LINE}", "0 0.9 0.9 0.1 0.1")
    source = read(plain)
    unknown = ~first(source).mask_valid
    assert unknown[18, 27]
    assert unknown.sum() < 20
    assert "are boxes, so their boxes count as unknown (id line 2)" in str(source.faults[0])


def test_images_without_labels_are_left_out(plain):
    write(plain, "", "  ")
    (plain / "labels" / "01.txt").unlink()
    assert [entry.id for entry in read(plain).entries] == ["02", "03"]


@pytest.mark.parametrize(
    "line", ["x y", "0 0.1", "0 0.1 0.2 0.3 0.4 0.5", "-1 " + LINE, "0.5 " + LINE, "\0\0", "0;1;2"]
)
def test_a_line_that_is_none_breaks_its_image_and_is_named(plain, line):
    write(plain, f"0 {LINE}", line)
    source = read(plain)
    with pytest.raises(DataError, match=r"00\.txt: line 2 is .*class number and x and y in turn"):
        first(source) if source.entries[0].id == "00" else pytest.fail(str(source.faults[0]))
    assert inspect_source(source).usable == 3


@pytest.mark.parametrize("points", ["nan 0 1 0 1 1", "inf 0 1 0 1 1", "0 0 640 0 640 480"])
def test_points_that_are_no_shares_break_their_image(plain, points):
    write(plain, f"0 {LINE}", f"0 {points}")
    with pytest.raises(DataError, match=r"00\.png: has an annotation \(id line 2\) in 00\.txt"):
        first(read(plain))


def test_files_that_cannot_be_used_are_named(plain):
    (plain / "images" / "00.png").write_bytes(b"broken")
    assert any("00.png" in str(fault) for fault in read(plain).faults)
    (plain / "data.yaml").write_text("names: [a\n")
    with pytest.raises(DataError, match=r"data\.yaml cannot be read as YAML"):
        read(plain)
    (plain / "data.yaml").write_text("kpt_shape: [17, 3]\nnames: [a]\n")
    with pytest.raises(DataError, match="key points"):
        read(plain)
    for path in (plain / "labels").iterdir():
        path.unlink()
    (plain / "data.yaml").unlink()
    with pytest.raises(DataError, match="has no labels for its images"):
        read(plain)


def test_yaml_runs_nothing(plain):
    (plain / "data.yaml").write_text('names: !!python/object/apply:os.system ["touch hit"]\n')
    with pytest.raises(DataError, match="cannot be read as YAML"):
        read(plain)


def test_masks_as_files_come_first(plain):
    (plain / "masks").mkdir()
    for i in range(4):
        Image.new("L", (WIDTH, HEIGHT), 255 * (i % 2)).save(plain / "masks" / f"{i:02d}.png")
    assert not detect_yolo(str(plain))
