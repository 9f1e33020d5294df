from __future__ import annotations

import pickle
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from basrelief.data import open_source
from basrelief.data.decode import FileError
from basrelief.data.inspect import inspect_source
from basrelief.data.pack import source_key
from basrelief.data.source import DataOptions, Source
from basrelief.errors import BasreliefError, DataError
from support import make_quartets, write_pictures, write_quartets_c


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def said(source: Source) -> str:
    return "\n".join([*source.notes, *map(str, source.faults)])


def rewrite_zip(path: Path, change: dict[str, bytes | None], add: dict[str, bytes] | None = None) -> None:
    """Write an archive again with other contents; None leaves a member out."""
    with zipfile.ZipFile(path) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist()}
    contents |= {name: data for name, data in (change | (add or {})).items() if data is not None}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            if change.get(name, b"") is not None:
                archive.writestr(name, data)


def test_reading_archives_writes_nothing_and_leaves_no_file_open(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    before = files_below(tmp_path)
    source = open_source(str(root))
    with ThreadPoolExecutor(4) as pool:
        threaded = [sample.image for sample in pool.map(source.load, source.entries * 4)]
    assert files_below(tmp_path) == before
    assert all(np.array_equal(a, source.load(e).image) for a, e in zip(threaded, source.entries * 4, strict=True))
    for handle in Path("/proc/self/fd").glob("*"):  # nothing there on systems without it
        assert not (handle.is_symlink() and str(handle.readlink()).endswith(".zip"))


def test_a_source_of_archives_crosses_processes(tmp_path: Path) -> None:
    source = open_source(str(write_quartets_c(tmp_path / "c", make_quartets())))
    load = pickle.loads(pickle.dumps(source.load))
    assert np.array_equal(load(source.entries[0]).image, source.load(source.entries[0]).image)


def test_one_archive_with_all_in_it_is_data(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    archive = root / "data_part1.zip"
    backgrounds = {f"Background/{path.name}": path.read_bytes() for path in (root / "Background").iterdir()}
    rewrite_zip(archive, {}, backgrounds | {"labels.txt": (root / "labels.txt").read_bytes(), "__MACOSX/._x": b"?"})
    alone = archive.rename(tmp_path / "all.zip")
    source = open_source(str(alone))
    assert (source.format, len(source.entries), source.background) == ("quartets-c", 6, True)
    assert len({entry.planes["background"] for entry in source.entries}) == 3
    assert source.load(source.entries[0]).background is not None


def test_unpacked_archives_are_read_as_well(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    with zipfile.ZipFile(root / "data_part1.zip") as archive:
        archive.extractall(root)
    both = open_source(str(root))
    assert "Fg-Bg/ beside them is left alone" in said(both)
    (root / "data_part1.zip").unlink()
    source = open_source(str(root))
    assert (source.format, len(source.entries)) == ("quartets-c", 6)
    assert not source.faults


def test_an_edited_list_is_noticed_though_the_archives_are_the_same(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    keys = []
    for change in (("", ""), ("fg-bg-mask_1.jpg", "fg-bg-mask_3.jpg")):
        labels = root / "labels.txt"
        labels.write_text(labels.read_text().replace(*change) if change[0] else labels.read_text())
        source = open_source(str(root))
        keys.append(source_key(source, source.entries, (24, 32), None))
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../Fg-Bg/x.jpg", "points outside the archive"),
        ("data_1/Fg-Bg/../../../x.jpg", "points outside the archive"),
        ("/Fg-Bg/x.jpg", "points outside the archive"),
        ("C:/Fg-Bg/x.jpg", "points outside the archive"),
        ("data_1\\Fg-Bg\\x.jpg", "has a backslash in its name"),
    ],
)
def test_members_that_point_outside_are_turned_away(tmp_path: Path, name: str, reason: str) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    before = files_below(tmp_path)
    with zipfile.ZipFile(root / "data_part1.zip", "a") as archive:
        archive.writestr(name, b"x")
    source = open_source(str(root))
    assert reason in said(source)
    assert [fault.fatal for fault in source.faults] == [True]
    assert len(source.entries) == 6
    assert files_below(tmp_path) == before


def test_a_member_whose_name_begins_with_nul_is_turned_away(tmp_path: Path) -> None:
    """Its name is empty to Python, and asking whether it is a folder was a traceback."""
    root = write_quartets_c(tmp_path / "c", make_quartets())
    with zipfile.ZipFile(root / "data_part1.zip", "a") as archive:
        archive.writestr("?x.jpg", b"x")
    data = (root / "data_part1.zip").read_bytes()
    (root / "data_part1.zip").write_bytes(data.replace(b"?x.jpg", b"\0x.jpg"))
    source = open_source(str(root))
    assert "has no name" in said(source)
    assert len(source.entries) == 6


def test_links_encryption_and_rare_compression_are_turned_away(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    path = root / "data_part1.zip"
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("data_1/Fg-Bg/link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("data_1/Fg-Bg/rare.jpg", b"x" * 99, zipfile.ZIP_BZIP2)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 8] |= 1  # the first member's flag: encrypted
    path.write_bytes(data)
    source = open_source(str(root))
    for reason in ("is a link or a device", "is encrypted", "method 12 of the zip format"):
        assert reason in said(source)
    assert inspect_source(source).usable == 5


def test_a_bomb_among_the_members_is_turned_away_by_its_ratio(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    with zipfile.ZipFile(root / "data_part1.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data_1/Fg-Bg/bomb.bmp", bytes(4 << 20))
    assert "as a decompression bomb does (limits: 268,435,456 bytes, 200 times)" in said(open_source(str(root)))


def test_a_member_that_unpacks_to_more_than_it_states_is_cut_off(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    path = root / "data_part1.zip"
    rewrite_zip(path, {"data_1/Fg-Bg/fg-bg_1.jpg": bytes(8 << 20)})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, entry + 24, 1000)  # the stated size
    path.write_bytes(data)
    source = open_source(str(root))
    assert "does not have the size and checksum" in said(source)
    assert inspect_source(source).usable == 5


def test_an_archive_that_is_a_bomb_as_a_whole_or_overlaps_is_refused(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    path = root / "data_part1.zip"
    whole = path.read_bytes()
    data = bytearray(whole)
    places = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    for entry in places:
        struct.pack_into("<L", data, entry + 24, 200_000_000)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"data_part1\.zip has .* claims to hold 3,600,000,000.*decompression bomb"):
        open_source(str(root))
    data = bytearray(whole)
    for entry in places:
        struct.pack_into("<L", data, entry + 42, 0)  # every member begins at the same place
    path.write_bytes(data)
    with pytest.raises(DataError, match="overlap"):
        open_source(str(root))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_archive_is_refused_by_name(tmp_path: Path, keep: float) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    path = root / "data_part2.zip"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(DataError, match=r"data_part2\.zip is no zip archive, or is truncated or damaged"):
        open_source(str(root))
    with pytest.raises(DataError, match=r"data_part2\.zip is no zip archive"):
        open_source(str(path))


def test_damaged_bytes_never_give_other_pixels_or_a_traceback(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    path = root / "data_part1.zip"
    source = open_source(str(root))
    right = {entry.id: source.load(entry) for entry in source.entries}
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            source = open_source(str(root), DataOptions(format="quartets-c"))
        except BasreliefError:
            continue
        for entry in source.entries:
            try:
                sample = source.load(entry)
            except BasreliefError:
                continue
            assert np.array_equal(sample.image, right[entry.id].image)


def test_an_archive_replaced_after_listing_is_noticed(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    source = open_source(str(root))
    path = root / "data_part1.zip"
    path.write_bytes(b"?" * path.stat().st_size)
    with pytest.raises(FileError, match=r"data_part1\.zip.*is not where the archive's directory says"):
        source.load(source.entries[0])
    path.unlink()
    with pytest.raises(FileError, match="cannot be read from its archive"):
        source.load(source.entries[0])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    with zipfile.ZipFile(root / "data_part1.zip", "a") as archive:
        archive.writestr("data_1/Fg-Bg/fg-bg_1.jpg", archive.read("data_1/Fg-Bg/fg-bg_2.jpg"))
    source = open_source(str(root))
    assert "'fg-bg_1.jpg', which is there 2 times" in said(source)
    assert inspect_source(source).usable == 5


def test_archives_without_composites_or_labels_say_what_was_expected(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    labels = (root / "labels.txt").rename(tmp_path / "labels.txt")
    with pytest.raises(DataError, match=r"has no labels\.txt.*Expected zip archives holding Fg-Bg"):
        open_source(str(root))
    labels.rename(root / "labels.txt")
    for path in root.glob("*.zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.md", "nothing")
    with pytest.raises(DataError, match="lacks composites"):
        open_source(str(root), DataOptions(format="quartets-c"))


def test_a_member_that_is_no_image_or_has_another_size_is_a_fault(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    with zipfile.ZipFile(root / "data_part1.zip") as archive:
        small = archive.read("data_1/Fg-Bg-Mask/fg-bg-mask_3.jpg")
    write_pictures(tmp_path / "x", {"m.jpg": np.zeros((24, 32), np.uint8)})
    changed = {
        "data_1/Fg-Bg/fg-bg_1.jpg": b"not an image",
        "data_1/Fg-Bg/fg-bg_2.jpg": b"",
        "data_1/Fg-Bg-Mask/fg-bg-mask_3.jpg": (tmp_path / "x" / "m.jpg").read_bytes(),
        "data_1/Depth/depth_4.jpg": small[: len(small) // 2],
    }
    rewrite_zip(root / "data_part1.zip", changed)
    source = open_source(str(root))
    report = inspect_source(source)
    assert report.usable == 2
    for reason in ("not in a known file format", "is empty (zero bytes)", "is 32 × 24 pixels", "truncated"):
        assert reason in "\n".join(map(str, report.faults))


def test_sixteen_bit_png_depth_is_read_from_archives_in_full(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(), parts=1)
    write_pictures(tmp_path / "x", {"d.png": np.full((48, 64), 1500, np.uint16)})
    depths = {f"data_1/Depth/depth_{n}.jpg": None for n in range(1, 7)}
    new = {f"data_1/Depth/depth_{n}.png": (tmp_path / "x" / "d.png").read_bytes() for n in range(1, 7)}
    rewrite_zip(root / "data_part1.zip", depths, new)
    source = open_source(str(root), DataOptions(depth_scale=0.001))
    depth = source.load(source.entries[0]).depth
    assert depth is not None
    assert depth.max() == pytest.approx(1.5)


def test_entries_share_what_is_equal_in_them_and_name_their_foreground(tmp_path: Path) -> None:
    """Four hundred thousand entries with a table of paths each took more than a gigabyte."""
    source = open_source(str(write_quartets_c(tmp_path, make_quartets(backgrounds=2, each=4), parts=1)))
    assert len({id(entry.planes) for entry in source.entries}) == 2
    assert len({id(entry.group) for entry in source.entries}) == 2
    assert {entry.foreground for entry in source.entries} == {"fg-1"}
    assert all(entry.planes["image"].name == "data_part1.zip" for entry in source.entries)
