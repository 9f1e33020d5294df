from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.data.decode import FileError
from basrelief.data.inspect import inspect_source
from basrelief.data.source import DataOptions, Source
from basrelief.errors import DataError
from support import write_folder, write_pictures


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", 6, depths=True)


def rows(count: int = 6) -> list[dict[str, str]]:
    return [
        {"image": f"images/{i:02d}.png", "mask": f"masks/{i:02d}.png", "depth": f"depths/{i:02d}.png"}
        for i in range(count)
    ]


def write(path: Path, lines: list[dict[str, str]], separator: str = ",", end: str = "\n") -> str:
    columns = list(dict.fromkeys(column for line in lines for column in line))
    text = [separator.join(columns), *(separator.join(line.get(column, "") for column in columns) for line in lines)]
    path.write_bytes(end.join([*text, ""]).encode())
    return str(path)


def said(source: Source) -> str:
    return "\n".join([*source.notes, *map(str, source.faults)])


# --- what is right


def test_csv_tsv_and_parquet_give_the_same_samples(root: Path) -> None:
    pl.DataFrame(rows()).write_parquet(root / "all.parquet")
    places = [write(root / "all.csv", rows()), write(root / "all.TSV", rows(), "\t"), str(root / "all.parquet")]
    sources = [open_source(place) for place in places]
    for source in sources:
        assert source.format == "manifest"
        assert source.targets == ("mask", "depth")
        assert [entry.id for entry in source.entries] == [f"images/{i:02d}" for i in range(6)]
        assert not source.background
        for entry, first in zip(source.entries, sources[0].entries, strict=True):
            assert np.array_equal(source.load(entry).image, sources[0].load(first).image)


def test_samples_are_those_of_the_folder_format(root: Path) -> None:
    folder = open_source(str(root), DataOptions(depth_scale=0.001))
    source = open_source(write(root / "all.csv", rows()), DataOptions(depth_scale=0.001))
    assert (source.depth_unit, source.depth_kind, source.classes) == ("m", "metric", ("figure",))
    for entry, other in zip(source.entries, folder.entries, strict=True):
        a, b = source.load(entry), folder.load(other)
        assert a.mask is not None
        assert np.array_equal(a.mask, b.mask)
        assert np.array_equal(a.depth, b.depth)


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_any_usual_separator_line_end_byte_order_mark_and_case_is_read(root: Path, separator: str) -> None:
    lines = [{f" {name.title()}": value for name, value in line.items()} for line in rows()]
    place = write(root / "all.csv", lines, separator, end="\r\n")
    Path(place).write_bytes(b"\xef\xbb\xbf" + Path(place).read_bytes())
    assert len(open_source(place).entries) == 6


def test_paths_start_at_the_manifest_and_may_have_spaces_accents_commas_and_backslashes(root: Path) -> None:
    name = "caf\u00e9, no 1.png"
    (root / "images" / "00.png").rename(root / "images" / name)
    (root / "lists").mkdir()
    lines = [{plane: f"../{value}" for plane, value in line.items()} for line in rows()]
    lines[0]["image"] = f'"../images/{name}"'
    lines[1]["mask"] = "..\\masks\\01.png"
    source = open_source(write(root / "lists" / "all.csv", lines))
    assert not any(fault.fatal for fault in source.faults)
    assert len(source.entries) == 6
    assert "../images/caf\u00e9, no 1" in [entry.id for entry in source.entries]
    for entry in source.entries:
        source.load(entry)


def test_blank_cells_are_absent_planes(root: Path) -> None:
    lines = rows()
    lines[0]["mask"] = lines[1]["depth"] = " "
    lines[2]["mask"] = lines[2]["depth"] = ""
    source = open_source(write(root / "all.csv", lines))
    assert [entry.id for entry in source.entries] == [f"images/0{i}" for i in (0, 1, 3, 4, 5)]
    assert source.load(source.entries[0]).mask is None
    assert source.load(source.entries[1]).depth is None
    assert "line 4: has neither mask nor depth map and is left out" in said(source)


def test_groups_and_splits_are_kept_in_any_usual_spelling(root: Path) -> None:
    lines = rows()
    for i, split in enumerate(["train", "Training", "val", "validation", "test", ""]):
        lines[i] |= {"split": split, "group": f"g{i // 2}"}
    source = open_source(write(root / "all.csv", lines))
    assert [entry.split for entry in source.entries] == ["train", "train", "val", "val", "test", None]
    assert [entry.group for entry in source.entries] == ["g0", "g0", "g1", "g1", "g2", "g2"]
    assert "1 lines of all.csv state no split" in said(source)


def test_a_number_as_group_is_read_as_written(root: Path) -> None:
    frame = pl.DataFrame(rows()).with_columns(group=pl.Series([1, 1, 2, 2, 3, None]))
    frame.write_parquet(root / "all.parquet")
    assert [e.group for e in open_source(str(root / "all.parquet")).entries] == ["1", "1", "2", "2", "3", None]
    source = open_source(write(root / "all.csv", [line | {"group": "007"} for line in rows()]))
    assert {entry.group for entry in source.entries} == {"007"}


def test_shared_backgrounds_are_one_file_and_one_group(root: Path) -> None:
    empty = np.zeros((24, 32, 3), np.uint8)
    write_pictures(root / "rooms", {"a.png": empty, "b.png": empty + 9})
    lines = [line | {"background": f"rooms/{'ab'[i % 2]}.png"} for i, line in enumerate(rows())]
    source = open_source(write(root / "all.csv", lines))
    assert source.background
    assert len({entry.planes["background"] for entry in source.entries}) == 2
    assert len({entry.group for entry in source.entries}) == 2
    assert source.load(source.entries[1]).background is not None
    lines[3]["background"] = ""
    source = open_source(write(root / "all.csv", lines))
    assert not source.background
    assert "Backgrounds are not used: 1 of 6 lines have none (images/03)" in said(source)
    assert source.load(source.entries[0]).background is None


@pytest.mark.parametrize("bright", [1, 255])
def test_valid_says_where_mask_and_depth_are_known(root: Path, bright: int) -> None:
    valid = np.zeros((24, 32), np.uint8)
    valid[:, :20] = bright
    write_pictures(root / "valid", {"v.png": valid})
    small = np.full((12, 16), 1500, np.uint16)
    write_pictures(root / "depths", {"01.png": small})
    source = open_source(write(root / "all.csv", [line | {"valid": "valid/v.png"} for line in rows()]))
    for number in (0, 1):
        sample = source.load(source.entries[number])
        assert sample.mask_valid is not None
        assert np.array_equal(sample.mask_valid, valid > 0)
        assert sample.depth is not None
        assert np.isnan(sample.depth[:, 20 // (number + 1) :]).all()
        assert np.isfinite(sample.depth[:, : 20 // (number + 1)]).all()


def test_valid_with_jpeg_noise_and_dark_all_over_means_unknown_everywhere(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 6, (24, 32)).astype(np.uint8)
    write_pictures(root / "valid", {"v.jpg": noise})
    source = open_source(write(root / "all.csv", [line | {"valid": "valid/v.jpg"} for line in rows()]))
    sample = source.load(source.entries[0])
    assert sample.mask_valid is not None
    assert not sample.mask_valid.any()
    assert sample.depth is not None
    assert np.isnan(sample.depth).all()


def test_unknown_columns_are_left_alone_and_named(root: Path) -> None:
    source = open_source(write(root / "all.csv", [line | {"camera": "x"} for line in rows()]))
    assert "Columns left alone: camera" in said(source)


def test_images_that_differ_in_suffix_alone_keep_it_in_their_ids(root: Path) -> None:
    Image.open(root / "images" / "00.png").save(root / "images" / "00.jpg")
    lines = [*rows(), rows()[0] | {"image": "images/00.jpg"}]
    ids = [entry.id for entry in open_source(write(root / "all.csv", lines)).entries]
    assert ids[:3] == ["images/00.jpg", "images/00.png", "images/01"]


# --- what is wrong


@pytest.mark.parametrize("column", ["images", "img", "Filename", "image_path"])
def test_a_missing_image_column_names_those_found_and_the_nearest(root: Path, column: str) -> None:
    lines = [{column: line["image"], "mask": line["mask"]} for line in rows()]
    with pytest.raises(DataError, match=rf"no column image; its columns: '{column}', 'mask'.*Did you mean '{column}'"):
        open_source(write(root / "all.csv", lines))


def test_a_table_without_column_names_shows_what_stands_there(root: Path) -> None:
    (root / "all.csv").write_text("images/00.png,masks/00.png\nimages/01.png,masks/01.png\n")
    with pytest.raises(
        DataError, match=r"no column image; its columns: 'images/00\.png'.*first line names the columns"
    ):
        open_source(str(root / "all.csv"))


def test_an_image_named_twice_is_refused_with_the_lines(root: Path) -> None:
    lines = [*rows(), rows()[2] | {"image": "./images/02.png"}]
    with pytest.raises(DataError, match=r"images/02\.png is named 2 times, in line 4, line 8"):
        open_source(write(root / "all.csv", lines))


def test_files_that_are_missing_or_folders_are_faults_by_line(root: Path) -> None:
    lines = rows()
    lines[1]["mask"] = "masks/none.png"
    lines[3]["image"] = "images"
    lines[4]["image"] = ""
    source = open_source(write(root / "all.csv", lines))
    assert "all.csv line 3: names the mask 'masks/none.png', which is not there" in said(source)
    assert "all.csv line 5: names the image 'images', which is a folder" in said(source)
    assert "all.csv line 6: names no image" in said(source)
    report = inspect_source(source)
    assert (report.samples, report.usable) == (5, 3)


def test_rows_of_parquet_files_are_counted_as_rows(root: Path) -> None:
    lines = rows()
    lines[1]["mask"] = "masks/none.png"
    pl.DataFrame(lines).write_parquet(root / "all.parquet")
    assert "all.parquet row 2: names the mask" in said(open_source(str(root / "all.parquet")))


def test_blank_lines_do_not_shift_the_numbers(root: Path) -> None:
    place = Path(write(root / "all.csv", rows()))
    lines = place.read_text().splitlines()
    lines[3] = "images/nowhere.png,masks/00.png,"
    place.write_text("\n".join([*lines[:2], "", *lines[2:], "", ""]))
    source = open_source(str(place))
    assert "line 5: names the image 'images/nowhere.png'" in said(source)
    assert len(source.entries) == 6


def test_an_unknown_split_is_refused_with_the_nearest(root: Path) -> None:
    lines = [line | {"split": "train"} for line in rows()]
    lines[2]["split"] = "tets"
    with pytest.raises(DataError, match=r"line 4: the split 'tets' is not known. Did you mean 'test'\?"):
        open_source(write(root / "all.csv", lines))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("blank.csv", b"\n \n\n"),
        ("head.csv", b"image,mask\n"),
        ("wide.csv", b"image,mask\na.png,b.png,c.png,d.png\n"),
        ("utf16.csv", "image,mask\na.png,b.png\n".encode("utf-16")),
        ("latin.csv", b"image,mask\ncaf\xe9.png,b.png\n"),
        ("quote.csv", b'image,mask\n"a.png,b.png\n'),
        ("binary.tsv", bytes(range(256)) * 4),
        ("double.csv", b"image,Image,mask\na.png,b.png,c.png\n"),
        ("text.parquet", b"image,mask\na.png,b.png\n"),
        ("cut.parquet", b"PAR1" + bytes(40) + b"PAR1"),
        ("empty.parquet", b""),
        ("nothing.csv", b"image,mask\na.png,b.png\n"),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        open_source(str(tmp_path / name))


def test_a_damaged_parquet_file_is_refused(root: Path) -> None:
    path = root / "all.parquet"
    pl.DataFrame(rows()).write_parquet(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 8):
            data[place] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            open_source(str(path))
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017  it may as well be read, where the damage is harmless


def test_a_panic_inside_the_parquet_reader_is_an_error_like_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(path: Path) -> pl.DataFrame:  # what about one damaged file in hundreds brings about
        raise pl.exceptions.PanicException("unwrapped")

    pl.DataFrame(rows()).write_parquet(root / "all.parquet")
    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(DataError, match="cannot be read"):
        open_source(str(root / "all.parquet"))


def test_nested_cells_and_a_missing_file_are_refused(root: Path) -> None:
    pl.DataFrame({"image": [["a.png"]], "mask": ["b.png"]}).write_parquet(root / "all.parquet")
    with pytest.raises(DataError, match="the column image holds List"):
        open_source(str(root / "all.parquet"))
    with pytest.raises(DataError, match=r"none\.csv is not there"):
        open_source(str(root / "none.csv"), DataOptions(format="manifest"))
    with pytest.raises(DataError, match="is a folder"):
        open_source(str(root), DataOptions(format="manifest"))


@pytest.mark.parametrize("shape", [(12, 16), (24, 32, 3)])
def test_valid_of_another_size_or_in_colour_is_a_fault(root: Path, shape: tuple[int, ...]) -> None:
    colours = np.zeros(shape, np.uint8)
    colours[:6] = 200 if len(shape) == 2 else (200, 0, 90)
    write_pictures(root / "valid", {"v.png": colours})
    lines = rows()
    lines[0]["valid"] = "valid/v.png"
    source = open_source(write(root / "all.csv", lines))
    with pytest.raises(FileError, match=r"v\.png.*(16 × 12|holds colours)"):
        source.load(source.entries[0])
    assert inspect_source(source).usable == 5


def test_a_parquet_file_that_claims_very_many_lines_is_refused_unread(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.DataFrame({"image": ["images/00.png"] * 5000}).write_parquet(root / "all.parquet")
    monkeypatch.setattr("basrelief.data.manifest_table.MAX_LINES", 4999)
    with pytest.raises(DataError, match=r"all\.parquet claims more than 4,999 lines"):
        open_source(str(root / "all.parquet"))


def test_cells_of_bytes_are_refused(root: Path) -> None:
    pl.DataFrame({"image": [b"\xff\xfe"], "mask": ["masks/00.png"]}).write_parquet(root / "all.parquet")
    with pytest.raises(DataError, match=r"all\.parquet"):
        open_source(str(root / "all.parquet"))


def test_paths_may_leave_the_folder_and_be_absolute(root: Path) -> None:
    """Whoever writes a manifest can read what it names; nothing is written there."""
    (root / "deep").mkdir()
    lines = [f"../images/{i:02d}.png,{root}/masks/{i:02d}.png\n" for i in range(4)]
    (root / "deep" / "all.csv").write_text("image,mask\n" + "".join(lines))
    source = open_source(str(root / "deep" / "all.csv"))
    assert all(source.load(entry).mask is not None for entry in source.entries)
