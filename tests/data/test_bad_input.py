"""What people have on their disks: each case is read rightly, or refused with file, expectation and remedy.

Never a traceback, a wait without end, or planes that are wrong without a word.
"""

from __future__ import annotations

import io
import json
import os
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief import cli
from basrelief.data import open_source
from basrelief.data.decode import Blob, FileError, read_depth, read_image, read_mask_values
from basrelief.data.decode_wide import drop_exif_bomb
from basrelief.data.inspect import inspect_source
from basrelief.data.source import DataOptions
from basrelief.errors import BasreliefError
from hostile import exif_bomb, good_exif
from outlines import write_coco, write_labelme, write_yolo
from support import make_quartets, write_folder, write_quartets_a, write_quartets_b, write_quartets_c

TRAPS = Path(os.environ.get("BASRELIEF_DATA", Path(__file__).parents[3] / "shared" / "data")) / "traps"
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
DISC = np.hypot(*(np.mgrid[:24, :32] - np.array([12, 16])[:, None, None])) < 6
MASK = DISC.astype(np.uint8) * 255


def folder(root: Path) -> Path:
    return write_folder(root / "data", 4, depths=True)


def encode(array: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.save(content, kind, **options)  # type: ignore[arg-type]
    return content.getvalue()


def said(location: Path | str, **options: object) -> tuple[list[str], int]:
    """Return all that is said against data, and the number of samples that can be used."""
    try:
        source = open_source(str(location), DataOptions(**options))  # type: ignore[arg-type]
    except BasreliefError as error:
        return [str(error)], 0
    found = inspect_source(source)
    return [str(fault) for fault in found.faults], found.usable


# Pictures: what is read.


def oriented(array: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encode(array, "PNG", exif=exif)


def palette(indices: np.ndarray, **options: object) -> bytes:
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([0, 0, 0, 200, 40, 30, 9, 9, 240])
    return encode(picture, "PNG", **options)


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(frame).convert("RGB") for frame in (MASK, 255 - MASK)]
    return encode(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )


def cmyk() -> bytes:
    """As Photoshop writes it: with Adobe's marker, and all values inverted, as Pillow, too, has it in JPEG."""
    return encode(Image.fromarray(np.full((24, 32, 3), (250, 20, 10), np.uint8)).convert("CMYK"), "JPEG", quality=95)


GREY = np.repeat(MASK[..., None], 3, 2)
PICTURES: list[tuple[str, str, bytes, np.ndarray]] = [
    ("cmyk of a jpeg", "jpg", cmyk(), np.broadcast_to(np.array([250, 20, 10]), (24, 32, 3))),
    ("jpeg named png", "png", encode(GREY, "JPEG", quality=95), GREY),
    ("png named jpg", "jpg", encode(IMAGE, "PNG"), IMAGE),
    ("tiff named png", "png", encode(IMAGE, "TIFF"), IMAGE),
    ("png named tiff", "tif", encode(IMAGE, "PNG"), IMAGE),
    ("palette with a transparent colour", "png", palette(DISC.astype(np.uint8), transparency=0),
     DISC[..., None] * np.array([200, 40, 30])),
    ("grey with alpha", "png", encode(Image.merge("LA", [Image.new("L", (32, 24), 90), Image.fromarray(MASK)]), "PNG"),
     np.where(DISC[..., None], 90, 0) + np.zeros((1, 1, 3), int)),
    ("animated gif", "gif", animated("GIF"), GREY),
    ("animated webp", "webp", animated("WEBP"), GREY),
    ("animated png", "png", animated("PNG"), GREY),
    ("1 bit", "png", encode(Image.fromarray(DISC), "PNG"), GREY),
]  # fmt: skip


@pytest.mark.parametrize(("name", "suffix", "data", "expected"), PICTURES, ids=[case[0] for case in PICTURES])
def test_odd_pictures_are_read_as_viewers_show_them(name: str, suffix: str, data: bytes, expected: np.ndarray) -> None:
    found = read_image(Blob(f"x.{suffix}", data)).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (12 if data[:3] == b"\xff\xd8\xff" else 0), name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_meets_the_mask_drawn_on_what_is_shown(orientation: int, tmp_path: Path) -> None:
    """EXIF's eight orientations, by Pillow's own table of transposes, which undoes what a camera did."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> Image.Transpose that makes the stored from shown
    root = folder(tmp_path)
    shown = Image.fromarray(np.where(DISC[..., None], IMAGE // 2 + 128, IMAGE // 4))
    stored = shown.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else shown
    (root / "images/00.png").write_bytes(oriented(np.asarray(stored), orientation))
    (root / "masks/00.png").write_bytes(encode(MASK, "PNG"))
    source = open_source(str(root))
    sample = source.load(source.entries[0])
    assert (sample.image == np.asarray(shown)).all()
    assert sample.mask is not None
    assert (sample.mask[0] == DISC).all()
    (root / "masks/00.png").write_bytes(encode(np.asarray(Image.fromarray(MASK).rotate(90, expand=True)), "PNG"))
    assert any("00.png" in words and "EXIF" in words for words in said(root)[0])


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("png", palette(DISC.astype(np.uint8))),
        ("png", palette(DISC.astype(np.uint8), transparency=0)),
        ("png", encode(Image.fromarray(DISC), "PNG")),
        ("png", encode(np.dstack([GREY * 0, MASK]), "PNG")),
        ("gif", animated("GIF")),
        ("webp", animated("WEBP")),
        ("jpg", encode(DISC.astype(np.uint8) * 255, "PNG")),
        ("png", encode(GREY, "JPEG", quality=90)),
        ("tif", encode(Image.fromarray(DISC), "TIFF", compression="group4")),
        ("pbm", encode(Image.fromarray(DISC), "PPM")),
        ("png", encode(DISC.astype(np.uint16) * 65535, "PNG")),
    ],
)
def test_masks_of_every_encoding_are_the_same_mask(suffix: str, data: bytes, tmp_path: Path) -> None:
    root = folder(tmp_path)
    for i in range(4):
        (root / f"masks/{i:02d}.png").unlink()
        (root / f"masks/{i:02d}.{suffix}").write_bytes(data)
    source = open_source(str(root))
    mask = source.load(source.entries[2]).mask
    assert mask is not None
    assert (mask[0] == DISC).all()


def one_bit_png(width: int, height: int) -> bytes:
    """Made row by row: the picture alone would take 900 MB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", data) + part(b"IEND", b"")


def test_a_picture_of_900_million_pixels_is_refused_by_its_header_and_a_long_one_is_read(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "images/01.png").write_bytes(one_bit_png(30_000, 30_000))
    faults, usable = said(root)
    assert usable == 3
    assert any("01.png" in words and "178,956,970 pixels, the limit" in words for words in faults)
    assert read_image(Blob("x.png", one_bit_png(30_000, 100))).shape == (100, 30_000, 3)


KINDS = {
    "png": encode(IMAGE, "PNG"),
    "jpg": encode(IMAGE, "JPEG"),
    "bmp": encode(IMAGE, "BMP"),
    "gif": encode(MASK, "GIF"),
    "tga": encode(IMAGE, "TGA"),
    "webp": encode(IMAGE, "WEBP"),
    "jp2": encode(IMAGE, "JPEG2000"),
    "ppm": encode(IMAGE, "PPM"),
    "pbm": encode(Image.fromarray(DISC), "PPM"),
    "tif": encode(IMAGE, "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("suffix", KINDS)
def test_a_file_cut_anywhere_is_refused_or_read_as_a_whole(suffix: str) -> None:
    whole = KINDS[suffix]
    expected = read_image(Blob(f"x.{suffix}", whole))
    for end in [*range(0, 64, 5), *range(64, len(whole), max(1, len(whole) // 25)), len(whole) - 1]:
        try:
            found = read_image(Blob(f"x.{suffix}", whole[:end]))
        except FileError as error:
            assert f"x.{suffix}" in str(error)  # noqa: PT017
        else:
            assert (found == expected).all(), end


def test_any_wrong_bit_of_a_png_is_noticed() -> None:
    """Pillow compares few of a PNG file's checksums: 15 of 150 wrong bits gave another mask without a word."""
    rng = np.random.default_rng(0)
    depth = (1000 * np.mgrid[:24, :32][1]).astype(np.uint16)
    for array, read in ((MASK, read_mask_values), (IMAGE, read_image), (depth, read_depth)):
        whole = encode(array, "PNG")
        for place in rng.integers(0, len(whole), 150):
            data = bytearray(whole)
            data[place] ^= 1 << int(rng.integers(8))
            try:
                found = read(Blob("x.png", bytes(data)))
            except FileError:
                continue
            assert (found == array).all(), place


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_exif_block_of_thousands_of_entries_is_not_read(kind: str) -> None:
    """Each entry claims the whole block: a megabyte became gigabytes of copies, and minutes."""
    data = encode(IMAGE, kind, exif=exif_bomb())
    with Image.open(io.BytesIO(data)) as picture:
        assert "exif" in picture.info
        drop_exif_bomb(picture)
        assert "exif" not in picture.info
    assert read_image(Blob("x.png", data)).shape == IMAGE.shape
    with Image.open(io.BytesIO(encode(IMAGE, kind, exif=good_exif(6)))) as picture:
        drop_exif_bomb(picture)
        assert "exif" in picture.info


# Folders: what is said.


def pipe_and_device(root: Path) -> Path:
    data = folder(root)
    os.mkfifo(data / "images/pipe.png")
    os.mkfifo(data / "labels.txt")
    os.mkfifo(data / "x.json")
    os.mkfifo(data / "x.zip")
    (data / "masks/zero.png").symlink_to("/dev/zero")
    return data


def circles(root: Path) -> Path:
    data = folder(root)
    (data / "images/up").symlink_to("..")
    (data / "images/self").symlink_to("self")
    (data / "images/one").mkdir()
    (data / "images/two").mkdir()
    for i in range(4):
        (data / f"images/one/{i}").symlink_to("../two")
        (data / f"images/two/{i}").symlink_to("../one")
    return data


def renamed(old: str, new: bytes | str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        data = folder(root)
        for plane in ("images", "masks", "depths"):
            place = os.fsencode(data / plane)
            os.rename(place + b"/" + os.fsencode(old), place + b"/" + os.fsencode(new))  # noqa: PTH104
        return data

    return make


def two_spellings(root: Path) -> Path:
    data = renamed("01.png", unicodedata.normalize("NFC", "Kätzchen ä.png"))(root)
    for plane in ("masks", "depths"):
        path = data / plane / unicodedata.normalize("NFC", "Kätzchen ä.png")
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    return data


def mixed_case(root: Path) -> Path:
    data = folder(root)
    (data / "images/01.png").rename(data / "images/01.PNG")
    (data / "masks/01.png").rename(data / "masks/01.Png")
    (data / "masks").rename(data / "MASKS")
    return data


READ: dict[str, Callable[[Path], Path]] = {
    "pipes and devices": pipe_and_device,
    "links in circles": circles,
    "spaces, a line end and a dash": renamed("01.png", "-a b\nc.png"),
    "bytes that are no UTF-8": renamed("01.png", b"caf\xe9.png"),
    "an accent in two spellings": two_spellings,
    "mixed case": mixed_case,
}


@pytest.mark.parametrize("name", READ)
def test_odd_folders_are_read(name: str, tmp_path: Path) -> None:
    data = READ[name](tmp_path)
    source = open_source(str(data))
    assert len(source.entries) == 4
    for entry in source.entries:
        entry.id.encode()  # an index of a store can hold it
        sample = source.load(entry)
        assert sample.mask is not None
        assert sample.depth is not None
        assert (sample.image[sample.mask[0] == 1].min()) >= 150  # the disc, and not another image's


@pytest.mark.skipif(not TRAPS.is_dir(), reason="the real data are not here")
def test_inverted_bitmaps_beside_a_folder_of_backgrounds_are_read_and_said_to_be_inverted() -> None:
    source = open_source(str(TRAPS / "inverted_pbm_masks"))
    assert len(source.entries) == 6
    assert any("taken as inverted" in note for note in source.notes)
    assert any("Backgrounds are not used" in note for note in source.notes)
    for entry in source.entries:
        mask = source.load(entry).mask
        assert mask is not None
        assert 0.01 < mask.mean() < 0.1  # a thing in the middle of a table; its surroundings are 92 % and more
        assert not mask[0, 0].any()


@pytest.mark.skipif(not TRAPS.is_dir(), reason="the real data are not here")
def test_dirty_jpeg_quartets_are_cut_at_half_and_said_so() -> None:
    source = open_source(str(TRAPS / "dirty_jpeg_quartets"))
    assert len(source.entries) == 5
    assert any("JPEG noise around 0 and 255, cut at half" in note for note in source.notes)
    for entry in source.entries:
        mask = source.load(entry).mask
        assert mask is not None
        stored = np.asarray(Image.open(entry.planes["mask"]).convert("L"))
        assert ((stored > 127) == mask[0]).mean() > 0.999


def test_masks_beside_a_folder_of_backgrounds(tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    (tmp_path / "backgrounds").mkdir()
    Image.fromarray(IMAGE).save(tmp_path / "backgrounds/room.png")
    Image.fromarray(IMAGE).save(tmp_path / "backgrounds/hall.png")
    for i in range(3):
        Image.fromarray(IMAGE).save(tmp_path / f"things/{i}.jpg")
        Image.fromarray(~DISC).save(tmp_path / f"things/{i}.pbm")
    source = open_source(str(tmp_path))
    assert [entry.id for entry in source.entries] == ["things/0", "things/1", "things/2"]
    mask = source.load(source.entries[0]).mask
    assert mask is not None
    assert (mask[0] == DISC).all()


def with_file(place: str, data: bytes) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        path = folder(root) / place
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return root / "data"

    return make


def without_file(place: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (folder(root) / place).unlink()
        return root / "data"

    return make


def dangling(root: Path) -> Path:
    data = folder(root)
    (data / "masks/01.png").unlink()
    (data / "masks/01.png").symlink_to("nowhere.png")
    return data


def a_map_that_leads_nowhere(root: Path) -> Path:
    data = write_quartets_a(root / "data", make_quartets())
    (data / "file_map.txt").unlink()
    (data / "file_map.txt").symlink_to("nowhere")
    return data


def pipe(name: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        os.mkfifo(root / name)
        return root / name

    return make


def table(text: str | bytes) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        path = folder(root) / "all.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def yolo(line: str | None = None, yaml: str | None = None) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        data = write_yolo(root / "data", 4)
        if line is not None:
            (data / "labels/01.txt").write_text(line)
        if yaml is not None:
            (data / "data.yaml").write_text(yaml)
        return data

    return make


def two_folders_of_one_name(root: Path) -> Path:
    data = write_quartets_b(root / "data", make_quartets())
    (data / "BG").mkdir()
    (data / "BG/1.jpg").write_bytes(KINDS["jpg"])
    return data


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
REFUSED: list[tuple[str, Callable[[Path], Path], str, int]] = [
    ("a link to nowhere", dangling, "masks/01.png: is not there", 3),
    ("an image of no bytes", with_file("images/01.png", b""), "images/01.png: is empty (zero bytes)", 3),
    ("text named as a mask", with_file("masks/01.png", b"hello"), "01.png: is not in a known file format", 3),
    ("a web page named as an image", with_file("images/01.png", b"<html>"), "01.png: is not in a known file", 3),
    ("a mask of another size", with_file("masks/01.png", encode(MASK[:20], "PNG")), "is 32 × 20 pixels, and its im", 3),
    ("a mask that is turned", with_file("masks/01.png", encode(MASK.T.copy(), "PNG")), "Turn one of them", 3),
    ("depth of another shape", with_file("depths/01.png", encode(MASK[:10], "PNG")), "another aspect ratio", 3),
    ("a picture of depth", with_file("depths/01.png", KINDS["png"]), "depths/01.png: holds colours", 3),
    ("a mask without image", without_file("images/01.png"), "masks/01.png: is a mask without its image", 3),
    ("one image twice", with_file("images/01.jpg", KINDS["jpg"]), "has the same name as 01.", 3),
    ("a list that leads nowhere", a_map_that_leads_nowhere, "file_map.txt cannot be read: No such file", 0),
    ("two folders of one name", two_folders_of_one_name, "has two folders that could be bg/: ", 0),
    ("a pipe", pipe("data"), "is no folder", 0),
    ("a pipe named zip", pipe("data.zip"), "is no folder", 0),
    ("a pipe named json", pipe("data.json"), "is no folder", 0),
    ("a pipe named gz", pipe("data.gz"), "is no folder", 0),
    ("a pipe named csv", pipe("data.csv"), "is no folder", 0),
    ("a manifest of nothing", table(b""), "all.csv cannot be read", 0),
    ("a manifest of a byte order mark", table(b"\xef\xbb\xbf"), "all.csv", 0),
    ("a manifest of a mark and a line end", table(b"\xef\xbb\xbf\r\n"), "all.csv", 0),
    ("a manifest in UTF-16", table("image,mask\nimages/00.png,masks/00.png\n".encode("utf-16")), "all.csv", 0),
    ("a manifest with a cell too many", table("image,mask\nimages/00.png,masks/00.png,x\n"), "all.csv", 0),
    ("a manifest with an open quote", table('image,mask\n"images/00.png,masks/00.png\n'), "all.csv", 0),
    ("a manifest that names a zero byte", table("image,mask\na\0b.png,masks/00.png\n"), "is not there", 0),
    ("a manifest with a name of 5000 letters", table(f"image,mask\n{'x' * 5000},masks/00.png\n"), "too long", 0),
    ("a manifest that leaves the folder", table("image,mask\n../../etc/x.png,masks/00.png\n"), "is not there", 0),
    ("boxes that are no numbers", yolo("0 nan nan 0.1 0.1"), "boxes without area in their image", 3),
    ("boxes without end", yolo("0 0.5 0.5 1e999 0.1"), "boxes without area in their image", 3),
    ("boxes beyond the edge", yolo("0 7 7 0.1 0.1"), "boxes without area in their image", 3),
    ("classes beyond the names", yolo("9 0 0 0.5 0 0.5 0.5"), "have a class number without a name", 4),
    ("points in pixels", yolo("0 50 40 150 40 150 120"), "reaches far outside", 3),
    ("names that are lists of lists", yolo(yaml=f"{LAUGHS}names: [*k]\n"), "data.yaml: its names are no list", 0),
    ("names by something else", yolo(yaml="names: {cat: 0}"), "data.yaml: its names are no list", 0),
    ("yaml that calls", yolo(yaml="names: !!python/object/apply:os.system ['true']"), "cannot be read as YAML", 0),
]


@pytest.mark.parametrize(("name", "make", "words", "usable"), REFUSED, ids=[case[0] for case in REFUSED])
def test_bad_data_is_named_and_the_rest_is_used(
    name: str, make: Callable[[Path], Path], words: str, usable: int, tmp_path: Path
) -> None:
    faults, found = said(make(tmp_path))
    assert any(words in fault for fault in faults), faults
    assert found == usable, name


@pytest.mark.parametrize("form", ["coco", "purdue-shapes", "manifest", "quartets-c", "yolo", "folder"])
def test_a_pipe_is_not_waited_for_even_when_the_format_is_stated(form: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.gz")
    faults, _ = said(tmp_path / "data.gz", format=form)
    assert "data.gz" in faults[0]


def test_yolo_numbers_with_exponents_names_as_text_and_images_without_labels(tmp_path: Path) -> None:
    data = yolo("0 0e0 0 5e-1 0 .5 +0.5 0 0.5", "names: {'0': cat}")(tmp_path)
    (data / "labels/02.txt").write_text("")
    source = open_source(str(data), DataOptions(categories=("cat",)))
    assert [entry.id for entry in source.entries] == ["00", "01", "03"]
    mask = source.load(source.entries[1]).mask
    assert mask is not None
    assert mask[0, 5, 7] == 1
    assert any("1 image(s) without a label file" in note for note in source.notes)


def test_images_of_one_name_in_many_folders_are_found_by_their_folder(tmp_path: Path) -> None:
    """Scoring every candidate for each image made listing quadratic."""
    images = []
    for i in range(40):
        (tmp_path / f"{i:02d}").mkdir()
        Image.fromarray(IMAGE).save(tmp_path / f"{i:02d}/rgb.png")
        images.append({"id": i, "file_name": f"{i:02d}/rgb.png", "height": 24, "width": 32})
    outline = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
    notes = [{"id": i, "image_id": i, "category_id": 1, "segmentation": outline} for i in range(40)]
    content = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "all.json").write_text(json.dumps(content))
    source = open_source(str(tmp_path))
    assert [entry.planes["image"].parent.name for entry in source.entries] == [f"{i:02d}" for i in range(40)]


# Through the command.


def names_that_are_no_text(root: Path) -> list[Path]:
    made = [writer(root / writer.__name__, 3) for writer in (write_coco, write_yolo, write_labelme)]
    made.append(write_quartets_b(root / "b", make_quartets()))
    made.append(write_quartets_c(root / "c", make_quartets()))
    return [*made, folder(root / "f")]


def test_one_json_document_whatever_the_names(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of file names that are no UTF-8 went to standard output as they were, which is no JSON."""
    for location in names_that_are_no_text(tmp_path):
        for path in [path for path in location.rglob("*") if path.is_file()][:1]:
            path.with_name(os.fsdecode(b"caf\xe9") + path.suffix).write_bytes(b"broken")
        odd = location.with_name(os.fsdecode(b"\xff-") + location.name)
        location.rename(odd)
        monkeypatch.setattr("sys.argv", ["basrelief", "inspect", str(odd), "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code in (0, 1)
        out, err = capfd.readouterr()
        assert isinstance(json.loads(out.encode().decode()), dict)
        assert "Traceback" not in err


def test_hostile_shapes_of_many_references_stay_small(tmp_path: Path) -> None:
    """A pickle names one sample a million times: 60 KB of file asked for 15 GB of pictures."""
    import gzip
    import pickle

    sample = [[0] * 4096] * 3 + [np.zeros((5, 64, 64), np.uint8), {}]
    labels = {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}
    data = pickle.dumps(([sample] * 500_000, labels), 2).replace(b"numpy._core", b"numpy.core")
    (tmp_path / "x.gz").write_bytes(gzip.compress(data, 1))
    faults, _ = said(tmp_path / "x.gz")
    assert "x.gz: claims 500,000 samples in" in faults[0]
    boxes = [[[0] * 4096] * 3 + [np.zeros((5, 64, 64), np.uint8), {50: [[0, 0, 1, 1]] * 100_000}]] * 3
    (tmp_path / "y.gz").write_bytes(gzip.compress(pickle.dumps((boxes, labels), 2), 1))
    faults, usable = said(tmp_path / "y.gz")
    assert usable == 3
    assert any("100,000 boxes of one kind" in fault for fault in faults)
