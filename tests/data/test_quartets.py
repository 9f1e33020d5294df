from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.data.decode import FileError
from basrelief.data.inspect import inspect_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions, Source
from basrelief.data.store import open_store
from basrelief.errors import DataError
from support import make_quartets, write_pictures, write_quartets_a, write_quartets_b, write_quartets_c

WRITERS = {"quartets-a": write_quartets_a, "quartets-b": write_quartets_b, "quartets-c": write_quartets_c}
A_COLUMNS = "background, image, mask, depth"


@pytest.fixture(params=WRITERS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    return request.param, WRITERS[request.param](tmp_path / "data", make_quartets())


def said(source: Source) -> str:
    return "\n".join([*source.notes, *map(str, source.faults)])


# --- what is right


def test_every_plane_of_every_layout_is_the_one_that_was_written(layout: tuple[str, Path]) -> None:
    name, root = layout
    source = open_source(str(root))
    assert source.format == name
    assert (source.targets, source.classes, source.background) == (("mask", "depth"), ("figure",), True)
    assert (source.depth_unit, source.depth_kind) == ("", "relative")
    for entry, quartet in zip(source.entries, make_quartets(), strict=True):
        sample = source.load(entry)
        assert entry.id.endswith(quartet[1])
        assert sample.background is not None
        assert sample.mask is not None
        assert sample.depth is not None
        assert np.abs(sample.background.astype(int) - quartet[2]).mean() < 3
        assert np.abs(sample.image.astype(int) - quartet[3]).mean() < 8
        assert np.mean(sample.mask[0] != quartet[4] // 255) < 0.01
        assert np.abs(sample.depth - quartet[5]).mean() < 5


def test_all_composites_of_a_background_are_one_group_and_share_its_file(layout: tuple[str, Path]) -> None:
    source = open_source(str(layout[1]))
    assert [entry.group for entry in source.entries] == ["room-1"] * 2 + ["room-2"] * 2 + ["room-3"] * 2
    assert len({entry.planes["background"] for entry in source.entries}) == 3
    assert "3 backgrounds, composites of each: 2" in said(source)
    without = open_source(str(layout[1]), DataOptions(background=False))
    assert [entry.group for entry in without.entries] == [entry.group for entry in source.entries]


def test_backgrounds_are_packed_once_and_read_alike_from_every_layout(tmp_path: Path) -> None:
    images = []
    for name, write in WRITERS.items():
        source = open_source(str(write(tmp_path / name, make_quartets())))
        store = pack(source, source.entries, tmp_path / f"{name}.store", (24, 32), key="")
        assert len(store.shards("background")[0]) == 3
        assert len(open_store(store.path).index) == 6
        images.append(np.array(store.shards("image")[0]))
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])


def test_depth_options_state_unit_and_scale(layout: tuple[str, Path]) -> None:
    source = open_source(str(layout[1]), DataOptions(depth_scale=0.01, depth_unit="m", depth_invalid=(0.0,)))
    assert (source.depth_unit, source.depth_kind) == ("m", "metric")
    depth = source.load(source.entries[0]).depth
    assert depth is not None
    assert 0.3 < np.nanmin(depth) < 0.8


def test_folders_and_suffixes_may_be_spelt_in_any_case(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        root = write(tmp_path / name, make_quartets())
        for path in sorted(root.iterdir()):
            if path.is_dir():
                for file in path.iterdir():
                    file.rename(file.with_suffix(file.suffix.upper()))
            path.rename(path.with_name(path.name.upper()))
        source = open_source(str(root))
        assert (source.format, len(source.entries)) == (name, 6)
        assert not source.faults


def test_the_only_folder_of_an_unpacked_download_is_looked_into(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name / "download", make_quartets())
        assert open_source(str(tmp_path / name)).format == name


def test_masks_without_depth_and_depth_without_masks_are_enough(tmp_path: Path) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    (root / "bg_fg_depth_map").rename(tmp_path / "away")
    source = open_source(str(root))
    assert source.targets == ("mask",)
    assert "Without bg_fg_depth_map" in said(source)
    root = write_quartets_b(tmp_path / "b", make_quartets())
    (root / "mask").rename(tmp_path / "away-too")
    assert open_source(str(root)).targets == ("depth",)


def test_numbers_sort_by_value_so_that_ten_follows_nine(tmp_path: Path) -> None:
    quartets = make_quartets(backgrounds=3, each=4)
    source = open_source(str(write_quartets_b(tmp_path / "b", quartets)))
    assert [entry.id for entry in source.entries][-3:] == ["bg_fg_10", "bg_fg_11", "bg_fg_12"]
    assert [entry.group for entry in source.entries] == [quartet[0] for quartet in quartets]


# --- lists of names


def test_windows_line_ends_a_byte_order_mark_titles_and_blank_lines_are_read(tmp_path: Path) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    names = root / "file_map.txt"
    text = "bg\tbg_fg\tbg_fg_mask\tbg_fg_depth_map\n\n" + names.read_text() + "\n"
    names.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    source = open_source(str(root))
    assert len(source.entries) == 6
    assert not source.faults


def test_names_with_suffix_spaces_accents_and_folders_are_found(tmp_path: Path) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    accent = unicodedata.normalize("NFD", "caf\u00e9 1")
    (root / "bg_fg" / "bg_fg_1.jpeg").rename(root / "bg_fg" / f"{accent}.jpeg")
    names = root / "file_map.txt"
    names.write_text(
        names.read_text().replace("\tbg_fg_1\tbg_fg_mask_1\t", "\tcaf\u00e9 1\tbg_fg_mask\\bg_fg_mask_1.jpeg\t")
    )
    source = open_source(str(root))
    assert not source.faults
    assert "caf\u00e9 1" in [entry.id for entry in source.entries]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("room-1,bg_fg_1,bg_fg_mask_1,bg_fg_depth_map_1\n", f"separated by commas.*separated by tabs: {A_COLUMNS}"),
        ("room-1\tbg_fg_1\n", "the first line is .*Expected 4 columns"),
        ("x\ty\tz\tw\n", "none of the files that it names is there"),
    ],
)
def test_a_list_that_names_nothing_is_refused_with_its_first_line(tmp_path: Path, text: str, reason: str) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    (root / "file_map.txt").write_text(text)
    with pytest.raises(DataError, match=rf"file_map\.txt.*{reason}"):
        open_source(str(root))


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    (root / "file_map.txt").write_text((root / "file_map.txt").read_text(), encoding="utf-16")
    with pytest.raises(DataError, match="no UTF-8 text"):
        open_source(str(root))


def test_lines_with_missing_columns_are_faults_by_line_and_the_others_are_used(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets())
    lines = (root / "labels.txt").read_text().splitlines()
    lines[1] = "\t".join(lines[1].split("\t")[:3])
    lines[2] = lines[2].replace("fg-1.png", "")
    (root / "labels.txt").write_text("\r\n".join(lines))
    source = open_source(str(root))
    assert len(source.entries) == 4
    assert "labels.txt line 2: has 3 columns. Expected 5 columns" in said(source)
    assert "labels.txt line 3: names no foreground" in said(source)


def test_a_name_without_its_file_makes_that_sample_unusable(tmp_path: Path) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    (root / "bg_fg_mask" / "bg_fg_mask_3.jpeg").unlink()
    (root / "bg_fg" / "bg_fg_4.jpeg").unlink()
    source = open_source(str(root))
    assert "file_map.txt line 3: names the mask 'bg_fg_mask_3', which bg_fg_mask/ lacks" in said(source)
    assert "file_map.txt line 4: names the composite 'bg_fg_4', which bg_fg/ lacks" in said(source)
    report = inspect_source(source)
    assert (report.samples, report.usable) == (6, 4)
    with pytest.raises(FileError, match="line 3"):
        source.load(source.entries[2])


def test_a_part_that_was_not_downloaded_is_left_out_and_counted(tmp_path: Path) -> None:
    root = write_quartets_c(tmp_path / "c", make_quartets(each=20))
    (root / "data_part2.zip").unlink()
    source = open_source(str(root))
    assert len(source.entries) == 30
    assert not any(fault.fatal for fault in source.faults)
    assert "10 more lines are left out" in said(source)


def test_files_of_one_name_and_lines_of_one_composite_are_ambiguous(tmp_path: Path) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    Image.new("L", (64, 48)).save(root / "bg_fg_mask" / "bg_fg_mask_2.png")
    with (root / "file_map.txt").open("a") as file:
        file.write(
            "room-1\tbg_fg_1\tbg_fg_mask_5\tbg_fg_depth_map_1\nroom-3\tbg_fg_6\tbg_fg_mask_6\tbg_fg_depth_map_6\n"
        )
    source = open_source(str(root))
    assert "'bg_fg_mask_2', which is there 2 times" in said(source)
    assert "line 7: names the composite 'bg_fg_1', as line 1 does" in said(source)
    assert "line 8: names the composite 'bg_fg_6', as line 6 does, with the same files" in said(source)
    assert inspect_source(source).usable == 4


def test_names_that_point_elsewhere_find_nothing(tmp_path: Path) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    write_pictures(tmp_path / "outside", {"secret.jpeg": np.zeros((48, 64, 3), np.uint8)})
    with (root / "file_map.txt").open("a") as file:
        file.write("room-1\t../../outside/secret\t../outside/secret.jpeg\t/etc/passwd\n")
    source = open_source(str(root))
    assert len(source.entries) == 6
    assert "line 7: is left out" in said(source)


@pytest.mark.parametrize("name", ["file_map.txt", "bg_fg", "bg"])
def test_layout_a_says_what_it_lacks(tmp_path: Path, name: str) -> None:
    root = write_quartets_a(tmp_path / "a", make_quartets())
    (root / name).rename(tmp_path / "away")
    if name == "bg":
        source = open_source(str(root))
        assert not source.background
        assert "Without bg:" in said(source)
        return
    with pytest.raises(DataError, match="Expected the folders bg, bg_fg"):
        open_source(str(root), DataOptions(format="quartets-a"))


# --- pairs by order


def test_uneven_counts_are_refused_with_the_counts(tmp_path: Path) -> None:
    root = write_quartets_b(tmp_path / "b", make_quartets())
    (root / "mask" / "mask_6.jpg").unlink()
    with pytest.raises(DataError, match=r"bg/ 3, bg_fg/ 6, mask/ 5, depth/ 6.*Add or remove"):
        open_source(str(root))


def test_composites_that_do_not_divide_among_backgrounds_are_refused(tmp_path: Path) -> None:
    root = write_quartets_b(tmp_path / "b", make_quartets())
    write_pictures(root / "bg", {"room-4.jpg": np.zeros((48, 64, 3), np.uint8)})
    with pytest.raises(DataError, match="6 composites do not divide among 4 backgrounds"):
        open_source(str(root))


def test_another_file_missing_in_each_folder_is_noticed_by_the_numbers(tmp_path: Path) -> None:
    root = write_quartets_b(tmp_path / "b", make_quartets(each=3))
    (root / "mask" / "mask_4.jpg").rename(root / "mask" / "mask_40.jpg")
    with pytest.raises(DataError, match=r"bg_fg_4\.jpg would belong to mask/mask_5\.jpg, whose number differs"):
        open_source(str(root))


def test_backgrounds_in_another_order_are_pointed_out(tmp_path: Path) -> None:
    root = write_quartets_b(tmp_path / "b", make_quartets())
    (root / "bg" / "room-1.jpg").rename(root / "bg" / "room-9.jpg")
    assert "differs from its background by order" in said(open_source(str(root)))
