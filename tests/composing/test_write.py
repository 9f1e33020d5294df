"""Composed folders: the same samples from every layout and as a store, resumed to the same bytes, never mixed up."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import basrelief
from basrelief.batch import Sample
from basrelief.composing.options import ComposeOptions
from basrelief.composing.run import compose_data
from basrelief.composing.source import composed_source, plan_composition
from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions, Source
from basrelief.data.store import open_store
from basrelief.errors import DataError, OutputError, UsageError
from materials import materials

EVERYTHING = {"mirror": True, "positions": 2, "shadow": True, "harmonise": True, "misalign": 1.5}


def same(a: Sample, b: Sample) -> bool:
    planes = ("image", "background", "mask", "mask_valid", "depth")
    return all(
        np.array_equal(getattr(a, plane), getattr(b, plane), equal_nan=plane == "depth")
        if getattr(a, plane) is not None
        else getattr(b, plane) is None
        for plane in planes
    )


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("depths", [True, False])
def test_every_layout_reads_back_as_the_samples_that_were_composed(tmp_path: Path, depths: bool) -> None:
    options = materials(tmp_path, 7, depths=depths, **EVERYTHING)
    made = composed_source(plan_composition(options))
    for layout in "abc":
        out = tmp_path / layout
        done = compose_data(options, out, layout=layout, jobs=1)
        read = open_source(str(out))
        assert read.format == done["layout"] == f"quartets-{layout}"
        assert not read.faults
        assert (read.targets, read.classes, read.background) == (made.targets, ("figure",), True)
        assert (read.depth_unit, read.depth_kind) == (("m", "metric") if depths else (None, None))
        assert [entry.id for entry in read.entries] == [entry.id for entry in made.entries]
        for entry, wanted in zip(read.entries, made.entries, strict=True):
            assert (entry.group, entry.foreground, entry.split) == (wanted.group, wanted.foreground, wanted.split)
            assert same(read.load(entry), made.load(wanted)), (layout, entry.id)
        assert Counter(entry.split for entry in read.entries) == done["splits"]
        assert Counter(entry.group for entry in read.entries).most_common()[-1][1] == done["composites_per_background"]
        assert len({entry.planes["background"] for entry in read.entries}) == done["backgrounds"] == 7


def test_a_store_holds_the_same_samples_as_a_layout(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True, **EVERYTHING)
    compose_data(options, tmp_path / "files", jobs=1)
    done = compose_data(options, tmp_path / "store", packed=True)
    read = open_source(str(tmp_path / "files"))
    from_files = pack(read, read.entries, tmp_path / "packed", options.resolution, key="")
    store = open_store(tmp_path / "store")
    assert done["layout"] == "store"
    assert store.facts.fingerprint == from_files.facts.fingerprint
    for plane in ("image", "mask", "depth", "background"):
        assert np.array_equal(store.shards(plane)[0], from_files.shards(plane)[0]), plane
    for column in ("id", "group", "foreground", "split"):
        assert store.index[column].to_list() == from_files.index[column].to_list(), column
    assert (store.facts.depth_unit, store.facts.depth_kind) == ("m", "metric")
    before = digests(tmp_path / "store")
    compose_data(options, tmp_path / "store", packed=True)  # there already
    assert digests(tmp_path / "store") == before
    with pytest.raises(OutputError, match="another store"):
        compose_data(replace(options, seed=1), tmp_path / "store", packed=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        compose_data(options, tmp_path / "full", packed=True)


def test_a_composed_source_can_be_sent_to_another_process(tmp_path: Path) -> None:
    source = composed_source(plan_composition(materials(tmp_path, depths=True, **EVERYTHING)))
    load = pickle.loads(pickle.dumps(source.load))
    assert same(load(source.entries[3]), source.load(source.entries[3]))


def test_soft_alpha_comes_back_as_the_mask_that_the_composite_has(tmp_path: Path) -> None:
    """A mask with only a few grey levels, or nothing but soft ones, is read by the facts and not by its looks."""
    options = materials(tmp_path)
    for path in (tmp_path / "cutouts").iterdir():
        alpha = np.zeros((40, 40), np.uint8)
        alpha[4:36, 4:36], alpha[10:30, 10:30], alpha[14:20, 14:20] = 90, 130, 127
        Image.fromarray(np.dstack([np.full((40, 40, 3), 77, np.uint8), alpha])).save(path)
    compose_data(options, tmp_path / "out", jobs=1)
    read, made = open_source(str(tmp_path / "out")), composed_source(plan_composition(options))
    assert "0 to 127 is background, 128 to 255 is figure (as stated)" in " ".join(read.notes)
    for entry in read.entries:
        sample = read.load(entry)
        assert same(sample, made.load(entry))
        with Image.open(entry.planes["mask"]) as picture:
            stored = np.asarray(picture)
        assert (stored.dtype, stored.ndim) == (np.uint8, 2)
        assert sample.mask is not None
        assert np.array_equal(sample.mask[0], stored >= 128)
        assert ((stored > 0) & (stored < 128)).any()


def test_without_shadow_and_misalignment_image_is_background_outside_the_alpha(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True, harmonise=True)
    compose_data(options, tmp_path / "out", jobs=1)
    read = open_source(str(tmp_path / "out"))
    for entry in read.entries:
        sample = read.load(entry)
        with Image.open(entry.planes["mask"]) as picture:
            outside = np.asarray(picture) == 0
        assert sample.background is not None
        assert np.array_equal(sample.image[outside], sample.background[outside])
        assert outside.any()
        assert not outside.all()


def test_depth_files_hold_the_rooms_millimetres_outside_the_figure_and_one_number_inside(tmp_path: Path) -> None:
    options = replace(materials(tmp_path, depths=True), resolution=(48, 64), smallest=0.2)
    compose_data(options, tmp_path / "out", jobs=1)
    read = open_source(str(tmp_path / "out"))
    lines = (tmp_path / "out" / "samples.csv").read_text().splitlines()
    titles = lines[0].split(",")
    for line in lines[1:]:
        row = dict(zip(titles, line.split(","), strict=True))
        with Image.open(tmp_path / "depths" / f"{row['background']}.png") as picture:
            room = np.asarray(picture)
        with Image.open(tmp_path / "out" / "bg_fg_depth_map" / f"{row['id']}.png") as picture:
            stored = np.asarray(picture)
        sample = read.load(next(entry for entry in read.entries if entry.id == row["id"]))
        assert sample.mask is not None
        assert sample.depth is not None
        figure = sample.mask[0] == 1
        assert np.array_equal(stored[~figure], room[~figure])
        assert set(stored[figure].tolist()) == {round(1000 * float(row["distance"]))}
        assert np.array_equal(np.isnan(sample.depth), stored == 0)
        assert not np.isnan(sample.depth[figure]).any(), "the figure's distance is known everywhere"
        rows, columns = np.nonzero(figure)
        assert int(row["x"]) <= columns.min() <= columns.max() < int(row["x"]) + int(row["width"])
        assert int(row["y"]) <= rows.min() <= rows.max() < int(row["y"]) + int(row["height"])


def test_several_processes_make_the_same_bytes_as_one(tmp_path: Path) -> None:
    options = materials(tmp_path, 12, depths=True, **EVERYTHING)
    for layout in "bc":
        one, two = tmp_path / f"{layout}1", tmp_path / f"{layout}2"
        compose_data(options, one, layout=layout, jobs=1)
        compose_data(options, two, layout=layout, jobs=2)
        assert digests(one) == digests(two)


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from basrelief.composing.run import compose_data

def die(done, total):
    if total > 100 and done >= 100:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    out, layout, jobs = sys.argv[1:]
    compose_data(pickle.load(sys.stdin.buffer), Path(out), layout=layout, jobs=int(jobs), progress=die)
"""


@pytest.mark.parametrize(("layout", "jobs"), [("a", 1), ("b", 2), ("c", 1)])
def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path: Path, layout: str, jobs: int) -> None:
    """A real process, killed without warning in the middle; until it is finished, nothing reads it."""
    options, out = materials(tmp_path, 12, depths=True, mirror=True, positions=2), tmp_path / "out"
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "killed.py"), str(out), layout, str(jobs)]
    environment = {**os.environ, "PYTHONPATH": str(Path(basrelief.__file__).parents[1])}
    ended = subprocess.run(command, env=environment, input=pickle.dumps(options))
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match=r"is not finished.*Run the same command again"):
        open_source(str(out))
    begun = {name: digest for name, digest in digests(out).items() if ".partial-" not in name}
    assert len(begun) > (100 if layout != "c" else 5)
    compose_data(options, out, layout=layout, jobs=1)
    compose_data(options, tmp_path / "whole", layout=layout, jobs=1)
    finished = digests(out)
    assert finished == digests(tmp_path / "whole")
    assert all(finished[name] == digest for name, digest in begun.items() if name != "basrelief.json")


def test_what_is_there_is_kept_and_what_went_missing_is_made_again(tmp_path: Path) -> None:
    options, out = materials(tmp_path, depths=True), tmp_path / "out"
    compose_data(options, out, jobs=1)
    before = digests(out)
    (out / "bg_fg" / "bg0002_0001.png").unlink()
    (out / "bg_fg_depth_map" / "bg0003_0002.png").write_bytes(b"")  # as a power cut leaves it
    (out / "bg" / "bg0001.png").unlink()
    (out / "samples.csv").unlink()
    kept = [*(out / "bg_fg_mask").iterdir(), *(out / "bg").iterdir()]
    times = {path: path.stat().st_mtime_ns for path in kept}
    compose_data(options, out, jobs=1)
    assert digests(out) == before
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed: 0 there, 1 asked for"),
        ({"mirror": True}, "mirror: False there, True asked for"),
        ({"layout": "b"}, "layout: a there, b asked for"),
        ({"jpeg": 80}, "jpeg: None there, 80 asked for"),
    ],
)
def test_another_command_into_the_same_folder_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    options, out = materials(tmp_path), tmp_path / "out"
    compose_data(options, out, jobs=1)
    before = digests(out)
    writing = {name: change.pop(name) for name in ("layout", "jpeg") if name in change}
    with pytest.raises(OutputError, match=f"holds another set.*{told}"):
        compose_data(replace(options, **change), out, jobs=1, **writing)
    assert digests(out) == before


def test_materials_that_changed_since_are_noticed(tmp_path: Path) -> None:
    options, out = materials(tmp_path), tmp_path / "out"
    compose_data(options, out, jobs=1)
    Image.new("RGB", (64, 48)).save(tmp_path / "rooms" / "room-1.png")
    with pytest.raises(OutputError, match=r"holds another set.*materials"):
        compose_data(options, out, jobs=1)


@pytest.mark.parametrize("place", ["thesis.txt", "bg_fg/extra.png", "bg_fg/bg0001_9999.png", "bg_fg/bg1_1.png"])
def test_other_files_in_the_folder_are_refused_and_kept(tmp_path: Path, place: str) -> None:
    options, out = materials(tmp_path), tmp_path / "out"
    if "/" in place:
        compose_data(options, out, jobs=1)
    out.mkdir(exist_ok=True)
    (out / place).write_text("mine")
    with pytest.raises(OutputError, match=f"holds other files.*{place}"):
        compose_data(options, out, jobs=1)
    assert (out / place).read_text() == "mine"


def test_jpeg_touches_images_alone_and_is_said_to_be_lossy(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True)
    for layout in "abc":
        done = compose_data(options, tmp_path / layout, layout=layout, jpeg=90, jobs=1)
        assert "JPEG, which changes pixels" in " ".join(done["notes"])
        read, made = open_source(str(tmp_path / layout)), composed_source(plan_composition(options))
        assert not read.faults
        for entry in read.entries:
            a, b = read.load(entry), made.load(entry)
            assert a.mask is not None
            assert np.array_equal(a.mask, b.mask)
            assert np.array_equal(a.depth, b.depth, equal_nan=True)
            assert not np.array_equal(a.image, b.image)
            assert np.abs(a.image.astype(int) - b.image).mean() < 25


def test_a_random_split_leaves_the_division_open_and_says_that_it_leaks(tmp_path: Path) -> None:
    options = materials(tmp_path, split="random", limit=20)
    done = compose_data(options, tmp_path / "out", jobs=1)
    assert done["splits"] == {}
    assert done["count"] == 20
    assert "flattered" in " ".join(done["notes"])
    read = open_source(str(tmp_path / "out"))
    assert {entry.split for entry in read.entries} == {None}
    assert len({entry.foreground for entry in read.entries}) == 6


def test_names_with_spaces_accents_and_quotes_survive_every_layout(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True)
    (tmp_path / "rooms" / "room-2.png").rename(tmp_path / "rooms" / 'café, "old" 2.png')
    (tmp_path / "depths" / "room-2.png").rename(tmp_path / "depths" / 'café, "old" 2.png')
    (tmp_path / "cutouts" / "cup-3.png").rename(tmp_path / "cutouts" / "tasse à thé.PNG")
    for layout in "abc":
        compose_data(options, tmp_path / layout, layout=layout, jobs=1)
        read = open_source(str(tmp_path / layout))
        assert 'café, "old" 2' in {entry.group for entry in read.entries}
        assert "tasse à thé" in {entry.foreground for entry in read.entries}
    (tmp_path / "cutouts" / "cup-1.png").rename(tmp_path / "cutouts" / "cup\t1.png")
    with pytest.raises(DataError, match="tab or line break in its name"):
        compose_data(options, tmp_path / "d", jobs=1)


def test_a_composed_folder_can_be_moved(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True)
    compose_data(options, tmp_path / "out", jobs=1)
    entries = open_source(str(tmp_path / "out")).entries
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "out", tmp_path / "elsewhere" / "set")
    for name in ("rooms", "cutouts", "depths"):
        shutil.rmtree(tmp_path / name)
    moved: Source = open_source(str(tmp_path / "elsewhere"))
    assert [entry.split for entry in moved.entries] == [entry.split for entry in entries]
    assert moved.depth_unit == "m"


@pytest.mark.parametrize(
    ("change", "writing", "told"),
    [
        ({"resolution": (8, 8)}, {}, "--resolution 8x8"),
        ({"smallest": 0.6}, {}, "--min-size 0.6 and --max-size 0.53"),
        ({"smallest": 0.05}, {}, "too small to see"),
        ({"misalign": 50}, {}, "--misalign 50"),
        ({"positions": 0}, {}, "--positions 0"),
        ({"limit": 0}, {}, "--limit 0"),
        ({"limit": 2}, {}, "--limit 2 is too few"),
        ({"seed": -1}, {}, "--seed -1"),
        ({"split": "70/30"}, {}, "--split '70/30'"),
        ({"depth": DataOptions(depth_kind="metric")}, {}, "--depth-kind says"),
        ({}, {"layout": "d"}, "Unknown layout 'd'"),
        ({}, {"jpeg": 101}, "--jpeg 101"),
        ({}, {"jobs": 0}, "--jobs 0"),
        ({}, {"packed": True, "layout": "a"}, "--pack writes a store"),
        ({"depths": Path("depths")}, {"teacher": "x"}, "Leave one of them out"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], writing: dict[str, Any], told: str
) -> None:
    options: ComposeOptions = replace(materials(tmp_path), **change)
    with pytest.raises(UsageError, match=told):
        compose_data(options, tmp_path / "out", **writing)
    assert not (tmp_path / "out").exists()


def test_writing_into_what_is_read_is_refused(tmp_path: Path) -> None:
    options = materials(tmp_path)
    for out in (tmp_path / "rooms", tmp_path / "cutouts" / "new"):
        with pytest.raises(UsageError, match="lies in"):
            compose_data(options, out)
    with pytest.raises(OutputError, match="is a file"):
        compose_data(options, tmp_path / "rooms" / "room-1.png")
