from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from basrelief.data.decode import Blob
from basrelief.errors import DataError, MissingExtraError, UsageError
from basrelief.inference import inputs, video
from basrelief.inference.inputs import list_inputs
from made_networks import draw, film


def found(*given: str | Path, out: Path) -> list[str]:
    listed = list_inputs(given, leave_out=out)
    pictures = [picture.name for picture in listed.pictures(lambda _name: False)]
    assert listed.total == len(pictures)
    return pictures


def test_folders_are_searched_to_the_bottom_but_not_what_is_hidden_or_the_output(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 2)
    draw(root / "deep" / "er", 1, kind="jpg")
    draw(root / "out", 1)
    draw(root / ".cache", 1)
    (root / "notes.txt").write_text("no picture")
    (root / ".partial-x.png").write_bytes(b"")
    assert found(root, out=root / "out") == ["0", "1", "deep/er/0"]
    assert found(root / "deep", root / "1.png", out=root / "out") == ["er/0", "1"]


def test_patterns_name_results_from_their_fixed_part_on(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 2)
    draw(root / "a", 1)
    draw(root / "b", 1)
    draw(root / "out", 1)
    (root / "0.txt").write_text("")
    assert found(f"{root}/*", out=root / "out") == ["0", "1"]
    assert found(f"{root}/**/0.*", out=root / "out") == ["0", "a/0", "b/0"]
    assert found(f"{root}/[ab]/*.png", out=root / "out") == ["a/0", "b/0"]
    with pytest.raises(DataError, match="matches no image"):
        found(f"{root}/*.webp", out=root / "out")


def test_a_file_with_pattern_letters_in_its_name_is_a_file(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 1)
    (root / "0.png").rename(root / "photo[1].png")
    assert found(root / "photo[1].png", out=tmp_path / "out") == ["photo[1]"]


def test_a_picture_beside_the_results_may_be_named(tmp_path: Path) -> None:
    root = draw(tmp_path, 1)
    assert found(root / "0.png", out=root) == ["0"]
    with pytest.raises(UsageError, match="is the folder of the images"):
        found(root, out=root)


def test_the_same_file_twice_is_one_and_two_of_one_name_are_an_error(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 1)
    draw(root, 1, kind="jpg")
    assert found(root / "0.png", f"{root}/*.png", out=tmp_path / "out") == ["0"]
    with pytest.raises(UsageError, match="would both be written as 0"):
        found(root, out=tmp_path / "out")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "film.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"nothing\.png is not there"):
        found(tmp_path / "nothing.png", out=tmp_path / "out")
    with pytest.raises(DataError, match=r"holds no images.*Its 1 videos are taken when named"):
        found(tmp_path / "empty", out=tmp_path / "out")
    with pytest.raises(UsageError, match="--every 0"):
        list_inputs([tmp_path], leave_out=tmp_path / "out", every=0)


def test_standard_input_is_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), 9, np.uint8)).save(content, "PNG")
    stream = SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(content.getvalue()))
    monkeypatch.setattr(sys, "stdin", stream)
    (picture,) = list_inputs(["-"], leave_out=tmp_path).pictures(lambda _name: False)
    assert picture.name == picture.file_name == "stdin"
    assert isinstance(picture.source, Blob)
    assert picture.pixels() == 24
    assert picture.read().tolist() == [[[9, 9, 9]] * 6] * 4
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(UsageError, match="nothing is piped in"):
        list_inputs(["-"], leave_out=tmp_path)


def test_done_pictures_are_not_opened(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 2)
    listed = list_inputs([root], leave_out=tmp_path / "out")
    assert [picture.source for picture in listed.pictures(lambda name: name == "0")] == [None, root / "1.png"]


def test_videos_are_frames_in_red_green_blue(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi")
    listed = list_inputs([path], leave_out=tmp_path / "out", every=5)
    assert listed.total == 3
    pictures = list(listed.pictures(lambda name: name == "clip/000005"))
    assert [picture.name for picture in pictures] == ["clip/000000", "clip/000005", "clip/000010"]
    assert pictures[1].source is None
    frame = pictures[2].read()
    assert frame.shape == (32, 48, 3)
    assert np.abs(frame.reshape(-1, 3).mean(axis=0) - [100, 0, 0]).max() < 6  # JPEG is not exact


def test_a_video_that_is_cut_short_gives_its_frames_and_a_fault(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi", count=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    listed = list_inputs([path], leave_out=tmp_path / "out")
    pictures = list(listed.pictures(lambda _name: False))
    assert listed.total == len(pictures)
    with pytest.raises(DataError, match=r"clip\.avi: is"):
        pictures[-1].read()
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    (broken,) = list_inputs([tmp_path / "bad.mp4"], leave_out=tmp_path / "out").pictures(lambda _name: False)
    assert broken.pixels() == 0
    with pytest.raises(DataError, match="is no video"):
        broken.read()


def test_videos_without_the_package_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"basrelief\[video\]"):
        list_inputs([tmp_path / "clip.mp4"], leave_out=tmp_path / "out")


def test_a_videos_frames_meet_no_pictures(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi", 1)
    draw(tmp_path / "clip", 1)
    (tmp_path / "clip" / "0.png").rename(tmp_path / "clip" / "000000.png")
    with pytest.raises(UsageError, match="would both be written into clip"):
        list_inputs([path, f"{tmp_path}/*/*.png"], leave_out=tmp_path / "out")


def test_a_hundred_thousand_files_are_listed_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(folder: Path) -> list[tuple[str, list[str], list[str]]]:
        return [(str(folder), [], [f"{number}.jpg" for number in range(100_000)])]

    monkeypatch.setattr(inputs.os, "walk", walk)
    assert list_inputs([tmp_path], leave_out=tmp_path / "out").total == 100_000
