"""``basrelief generate``: files that the published programs read, and folders that read back as the same samples."""

from __future__ import annotations

import gzip
import json
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.data.purdue_draw import LABEL_MAP, draw_pictures
from basrelief.data.source import DataOptions
from commands import run


def published(file: Path) -> tuple[list[Any], dict[str, int]]:
    """Read a file as the published programs do."""
    with gzip.open(file, "rb") as stream:
        dataset, labels = pickle.loads(stream.read(), encoding="latin1")
    return dataset, labels


def test_shapes_are_what_the_published_programs_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "new" / "PurdueShapes5MultiObject-300-train.gz"
    code, printed, _ = run(capsys, "generate", "purdue-shapes", "--count", 300, "--out", file, "--json")
    assert code == 0
    assert json.loads(printed)["count"] == 300
    dataset, labels = published(file)
    assert labels == {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}
    assert type(dataset) is list
    assert len(dataset) == 300
    for red, green, blue, mask, boxes in dataset:
        for channel in (red, green, blue):
            assert type(channel) is list
            assert len(channel) == 4096
            assert {type(value) for value in channel} == {int}
        assert (mask.dtype, mask.shape) == (np.uint8, (5, 64, 64))
        assert mask.flags.writeable
        assert all(set(np.unique(mask[k])) <= {0, 50 * (k + 1)} for k in range(5))
        assert list(boxes) == list(labels.values())
        assert 1 <= sum(map(len, boxes.values())) <= 5
        image = np.array([red, green, blue]).reshape(3, 64, 64)
        assert ((mask > 0).sum(axis=0) <= 1).all(), "a pixel shows one figure"
        assert np.array_equal(image.max(axis=0) > 0, mask.any(axis=0)), "figures stand on black"
        for value, listed in boxes.items():
            for x0, y0, x1, y1 in listed:
                part = mask[value // 50 - 1, y0 : y1 + 1, x0 : x1 + 1] > 0
                assert part[0].any()
                assert part[-1].any()
                assert part[:, 0].any()
                assert part[:, -1].any()
    source = open_source(str(file))
    assert {entry.split for entry in source.entries} == {"train"}
    for entry, (red, green, blue, mask, _) in zip(source.entries, dataset, strict=True):
        loaded = source.load(entry)
        assert np.array_equal(loaded.image, np.array([red, green, blue]).T.reshape(64, 64, 3))
        assert np.array_equal(loaded.mask, mask > 0)


def test_the_pickle_is_of_protocol_2_and_names_only_old_numpy(tmp_path: Path, capsys: Any) -> None:
    run(capsys, "generate", "purdue-shapes", "--count", 2, "--out", tmp_path / "x.gz")
    steps = list(pickletools.genops(gzip.decompress((tmp_path / "x.gz").read_bytes())))
    assert steps[0][0].name == "PROTO"
    assert steps[0][1] == 2
    assert max(step.proto for step, _, _ in steps) <= 2
    names = {text for step, text, _ in steps if step.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert not [step for step, _, _ in steps if "UNICODE" in step.name], "Python 2 reads its own strings"


def test_boxes_by_plane_suit_a_program_that_indexes_with_their_keys(tmp_path: Path, capsys: Any) -> None:
    run(capsys, "generate", "purdue-shapes", "--count", 5, "--out", tmp_path / "a.gz", "--box-keys", "plane")
    run(capsys, "generate", "purdue-shapes", "--count", 5, "--out", tmp_path / "b.gz")
    for by_plane, by_value in zip(published(tmp_path / "a.gz")[0], published(tmp_path / "b.gz")[0], strict=True):
        assert list(by_plane[4]) == [0, 1, 2, 3, 4]
        assert [*by_plane[4].values()] == [*by_value[4].values()]


def test_shapes_depend_on_seed_split_and_nothing_else(tmp_path: Path, capsys: Any) -> None:
    def make(name: str, count: int = 20, seed: int = 0) -> bytes:
        run(capsys, "generate", "purdue-shapes", "--count", count, "--out", tmp_path / name, "--seed", seed)
        return (tmp_path / name).read_bytes()

    assert make("a-train.gz") == make("b-train.gz")
    assert make("a-test.gz") != make("c-train.gz", seed=1) != make("d-train.gz")
    make("long-train.gz", 300)
    short, long = published(tmp_path / "a-train.gz")[0], published(tmp_path / "long-train.gz")[0]
    assert all(a[:3] == b[:3] and a[4] == b[4] for a, b in zip(short, long, strict=False))
    test = published(tmp_path / "a-test.gz")[0]
    assert not {tuple(one[0]) for one in short} & {tuple(one[0]) for one in test}


def test_the_statistics_of_shapes_are_those_documented() -> None:
    drawn = [draw_pictures(0, "", chunk) for chunk in range(8)]
    figures = [figure for pictures in drawn for boxes in pictures.boxes for figure in boxes]
    counts = np.bincount([len(boxes) for pictures in drawn for boxes in pictures.boxes], minlength=6)
    assert counts[0] == 0
    assert (counts[1:] > 0.1 * counts.sum()).all()
    kinds = np.bincount([figure[0] for figure in figures], minlength=len(LABEL_MAP))
    assert kinds.min() > 0.85 * kinds.max()
    sides = np.array([(x1 - x0 + 1, y1 - y0 + 1) for _, x0, y0, x1, y1 in figures])
    assert 20 <= sides.max() <= 25
    assert sides.min() >= 2
    places = np.array([figure[1:] for figure in figures])
    assert (places.min(), places.max()) == (1, 62)
    assert any(len({figure[0] for figure in boxes}) < len(boxes) for pictures in drawn for boxes in pictures.boxes)


def test_each_kind_of_figure_has_its_own_outline() -> None:
    """The share of its box that a figure standing alone fills, at its largest: full only for an upright rectangle."""
    best = np.zeros(5)
    for chunk in range(8):
        pictures = draw_pictures(1, "", chunk)
        for row, boxes in enumerate(pictures.boxes):
            if len(boxes) == 1:
                kind, x0, y0, x1, y1 = boxes[0]
                if min(x1 - x0, y1 - y0) >= 10:
                    share = (pictures.mask[row, kind, y0 : y1 + 1, x0 : x1 + 1] > 0).mean()
                    best[kind] = max(best[kind], share)
    rectangle, triangle, disk, oval, star = best
    assert rectangle > 0.82
    assert 0.4 < triangle < 0.65
    assert 0.72 < disk < 0.85
    assert 0.6 < oval < 0.9
    assert 0.25 < star < 0.5


@pytest.mark.parametrize("resolution", [None, "48x64", "32"])
def test_scenes_read_back_as_the_same_samples(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, resolution: str | None
) -> None:
    words = ["--json"] if resolution is None else ["--json", "--resolution", resolution]
    out = tmp_path / "rooms"
    code, printed, _ = run(capsys, "generate", "scenes", "--count", 6, "--seed", 3, "--out", out, *words)
    assert code == 0
    assert json.loads(printed)["next"] == f"basrelief inspect {tmp_path / 'rooms'}"
    size = {None: (64, 64), "48x64": (48, 64), "32": (32, 32)}[resolution]
    scenes = open_source("scenes:6", DataOptions(seed=3, resolution=size))
    files = open_source(str(tmp_path / "rooms"))
    assert files.format == "folder"
    assert not [fault for fault in files.faults if fault.fatal]
    assert (files.targets, files.classes, files.background) == (scenes.targets, scenes.classes, True)
    assert (files.depth_unit, files.depth_kind) == ("m", "metric")
    assert len(files.entries) == 6
    groups = [entry.group for entry in files.entries]
    assert [groups.index(group) for group in groups] == [0, 0, 0, 0, 4, 4], "rooms stay together"
    for entry, wanted in zip(files.entries, scenes.entries, strict=True):
        a, b = files.load(entry), scenes.load(wanted)
        assert wanted.id in entry.id
        assert a.image.shape[:2] == size
        for plane in ("image", "background", "mask"):
            assert np.array_equal(getattr(a, plane), getattr(b, plane)), plane
        assert a.depth is not None
        assert b.depth is not None
        assert np.abs(a.depth - b.depth).max() <= 0.0005 + 1e-6
    stored = Image.open(next((tmp_path / "rooms" / "depths").iterdir()))
    assert np.asarray(stored).dtype == np.uint16
    assert len(list((tmp_path / "rooms" / "backgrounds").iterdir())) == 2


def test_nothing_that_is_there_is_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_text("mine")
    code, printed, _ = run(capsys, "generate", "purdue-shapes", "--count", 2, "--out", tmp_path / "x.gz", "--json")
    assert code == 1
    assert "is there already" in json.loads(printed)["error"]
    assert (tmp_path / "x.gz").read_text() == "mine"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for out in (tmp_path / "full", tmp_path / "x.gz"):
        code, _, said = run(capsys, "generate", "scenes", "--count", 2, "--out", out)
        assert code == 1
        assert "is there already" in said
    assert [item.name for item in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert run(capsys, "generate", "scenes", "--count", 2, "--out", tmp_path / "empty")[0] == 0


def test_stopped_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    from basrelief import app_data

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        app_data.generate_purdue_shapes(600, tmp_path / "x.gz", progress=stop)
    with pytest.raises(KeyboardInterrupt):
        app_data.generate_scenes(60, tmp_path / "rooms", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["purdue-shapes", "--count", 0, "--out", "x.gz"], "1 to 50,000"),
        (["purdue-shapes", "--count", 50_001, "--out", "x.gz"], "1 to 50,000"),
        (["purdue-shapes", "--count", "many", "--out", "x.gz"], "--count"),
        (["purdue-shapes", "--count", 2, "--out", "x.pkl"], "does not end in .gz"),
        (["purdue-shapes", "--count", 2, "--out", "x.gz", "--seed", -1], "seed -1"),
        (["purdue-shapes", "--count", 2, "--out", "x.gz", "--box-keys", "name"], "value or plane"),
        (["purdue-shapes", "--count", 2], "--out"),
        (["scenes", "--count", 0, "--out", "rooms"], "scenes:0"),
        (["scenes", "--count", 2, "--out", "rooms", "--seed", -1], "seed -1"),
        (["scenes", "--count", 2, "--out", "rooms", "--resolution", "8"], "at least 16x16"),
        (["scenes", "--count", 2, "--out", "rooms", "--resolution", "large"], "HEIGHTxWIDTH"),
        (["shapes"], "shapes"),
    ],
)
def test_wrong_usage_ends_in_one_message_and_writes_nothing(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[object],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = run(capsys, "generate", *words)
    assert code == 2
    assert says in said
    assert list(tmp_path.iterdir()) == []
