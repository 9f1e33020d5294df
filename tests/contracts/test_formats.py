"""What every format of the table must do. A new line inherits these checks, and adds its own small example."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from basrelief.batch import Sample
from basrelief.data import FORMATS, open_source
from basrelief.data.pack import pack
from basrelief.data.purdue_write import write_purdue_shapes
from basrelief.data.source import DataOptions
from basrelief.errors import BasreliefError
from outlines import write_coco, write_labelme, write_yolo
from support import make_quartets, write_folder, write_quartets_a, write_quartets_b, write_quartets_c


def example(name: str, tmp_path: Path) -> str:
    if name == "scenes":
        return "scenes:6"
    if name == "store":
        source = open_source("scenes:6", DataOptions(resolution=(24, 32)))
        return str(pack(source, source.entries, tmp_path / "store", (24, 32), key="").path)
    if name == "folder":
        return str(write_folder(tmp_path / "data", 6, depths=True))
    if name == "manifest":
        folder = write_folder(tmp_path / "data", 6, depths=True)
        lines = [f"images/{i:02d}.png,masks/{i:02d}.png,depths/{i:02d}.png\n" for i in range(6)]
        (folder / "all.csv").write_text("image,mask,depth\n" + "".join(lines))
        return str(folder / "all.csv")
    if name == "quartets-a":
        return str(write_quartets_a(tmp_path / "data", make_quartets()))
    if name == "quartets-b":
        return str(write_quartets_b(tmp_path / "data", make_quartets()))
    if name == "quartets-c":
        return str(write_quartets_c(tmp_path / "data", make_quartets()))
    if name == "purdue-shapes":
        write_purdue_shapes(tmp_path / "shapes-train.gz", 6)
        return str(tmp_path / "shapes-train.gz")
    if name == "coco":
        pytest.importorskip("pycocotools", reason="the extra 'coco' is not installed")
        return str(write_coco(tmp_path / "data", 6))
    if name == "yolo":
        return str(write_yolo(tmp_path / "data", 6))
    if name == "labelme":
        return str(write_labelme(tmp_path / "data", 6))
    raise AssertionError(f"give the format {name} an example here")


@pytest.mark.parametrize("name", FORMATS)
def test_found_by_looking_and_by_name(name: str, tmp_path: Path) -> None:
    location = example(name, tmp_path)
    found, asked = open_source(location), open_source(location, DataOptions(format=name))
    assert found.format == asked.format == name
    assert [entry.id for entry in found.entries] == [entry.id for entry in asked.entries]


@pytest.mark.parametrize("name", FORMATS)
def test_samples_have_the_stated_planes_types_and_ranges(name: str, tmp_path: Path) -> None:
    source = open_source(example(name, tmp_path))
    assert len({entry.id for entry in source.entries}) == len(source.entries) == 6
    for entry in source.entries:
        sample = source.load(entry)
        assert sample.id == entry.id
        assert sample.image.dtype == np.uint8
        assert sample.image.shape[2:] == (3,)
        if "mask" in source.targets:
            assert sample.mask is not None
            assert sample.mask.dtype == np.uint8
            assert sample.mask.shape == (len(source.classes), *sample.image.shape[:2])
            assert set(np.unique(sample.mask)) <= {0, 1}
        if "depth" in source.targets:
            assert sample.depth is not None
            assert sample.depth.dtype == np.float32
            assert np.nanmin(sample.depth) >= 0
        assert (sample.background is not None) == source.background


@pytest.mark.parametrize("name", FORMATS)
def test_loading_is_repeatable_in_any_order(name: str, tmp_path: Path) -> None:
    source = open_source(example(name, tmp_path))
    forward = [source.load(entry).image for entry in source.entries]
    backward = [source.load(entry).image for entry in reversed(source.entries)]
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_backgrounds_can_be_left_out(name: str, tmp_path: Path) -> None:
    source = open_source(example(name, tmp_path), DataOptions(background=False))
    assert not source.background
    assert source.load(source.entries[0]).background is None


def test_what_is_not_there_or_unknown_is_named() -> None:
    with pytest.raises(BasreliefError, match=r"nowhere is not there.*scenes:N"):
        open_source("nowhere")
    with pytest.raises(BasreliefError, match=r"'foldr'.*Did you mean 'folder'"):
        open_source("scenes:5", DataOptions(format="foldr"))


def same(a: Sample, b: Sample) -> bool:
    planes = ("image", "background", "mask", "mask_valid", "depth")
    pairs = [(getattr(a, plane), getattr(b, plane)) for plane in planes]
    return a.id == b.id and all(
        (x is None) == (y is None) and (x is None or np.array_equal(x, y, equal_nan=x.dtype.kind == "f"))
        for x, y in pairs
    )


@pytest.mark.parametrize("name", FORMATS)
def test_loading_goes_to_other_processes_and_is_small(name: str, tmp_path: Path) -> None:
    source = open_source(example(name, tmp_path))
    sent = pickle.dumps(source.load)
    assert len(sent) < 4096  # what belongs to one sample is in its entry
    load = pickle.loads(sent)
    for entry in source.entries:
        assert same(load(pickle.loads(pickle.dumps(entry))), source.load(entry))


@pytest.mark.parametrize("name", FORMATS)
def test_a_plane_taken_out_of_an_entry_is_not_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(example(name, tmp_path))
    entry = source.entries[1]
    whole = source.load(entry)
    for plane in {"background", "mask", "depth"} & set(entry.planes):
        assert getattr(whole, plane) is not None
        with monkeypatch.context() as patched:
            if reader := {"mask": "read_mask_values", "depth": "read_depth_at"}.get(plane):
                patched.setattr(f"basrelief.data.folder_load.{reader}", None)
            planes = {other: file for other, file in entry.planes.items() if other != plane}
            less = source.load(replace(entry, planes=planes))
        assert same(less, replace(whole, **{plane: None, **({"mask_valid": None} if plane == "mask" else {})}))
