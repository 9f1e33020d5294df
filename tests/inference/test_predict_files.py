from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from basrelief.data.decode import read_image
from basrelief.errors import DataError, OutputError, UsageError
from basrelief.inference import pipeline
from basrelief.inference.cutout import parse_backdrop
from basrelief.inference.kinds import KINDS, Kind, Outputs
from basrelief.inference.planes import Planes
from basrelief.inference.points import Lens
from basrelief.inference.predict_files import predict_files
from made_networks import draw, film, made_predictor, names

ALL = Outputs(
    npy=True, preview=True, cutout=True, backdrop=parse_backdrop("white"), lens=Lens(fov=60), boxes=True, soft=16
)


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_every_kind_is_what_the_predictor_says(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 5)
    predictor = made_predictor("cat", depth=True)
    done = predict_files(predictor, [root], tmp_path / "hard")
    assert done["written"] == 5
    assert done["images_per_second"] > 0
    predict_files(predictor, [root], tmp_path / "soft", outputs=ALL)
    for number in range(5):
        image = read_image(root / f"{number}.png")
        result = predictor(image)
        assert result.mask is not None
        assert result.probability is not None
        assert result.depth is not None
        assert np.array_equal(opened(tmp_path / "hard" / f"{number}_mask.png"), result.mask * 255)
        assert result.mask.any()
        soft = tmp_path / "soft"
        assert np.abs(opened(soft / f"{number}_soft.png") / 65535 - result.probability).max() <= 0.5 / 65535 + 1e-7
        assert np.array_equal(np.load(soft / f"{number}_mask.npy"), result.probability)
        assert np.array_equal(np.load(soft / f"{number}_depth.npy"), result.depth)
        codes = opened(soft / f"{number}_depth.png")
        assert np.abs(codes * (4 / 65535) - result.depth).max() <= 4 / 65535
        assert np.array_equal(opened(soft / f"{number}_cutout.png"), np.asarray(result.cutout()))
        assert np.array_equal(opened(soft / f"{number}_replaced.png"), np.asarray(result.replace("white")))
        size = int((soft / f"{number}.ply").read_bytes().split(b"element vertex ")[1].split()[0])
        assert size == np.count_nonzero(codes)
        assert opened(soft / f"{number}_preview.png").shape[2] == 3
    assert not (tmp_path / "soft" / "0_mask.png").exists()
    boxes = json.loads((tmp_path / "soft" / "boxes.json").read_text())
    assert [box["image_id"] for box in boxes["annotations"]] == [1, 2, 3, 4, 5]
    assert boxes["categories"] == [{"id": 1, "name": "cat"}]
    left, top, width, height = boxes["annotations"][2]["bbox"]
    assert abs(left - 5) <= 2
    assert abs(top - 4) <= 2
    assert abs(width - 12) <= 3
    assert abs(height - 12) <= 3


def test_a_new_kind_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(planes: Planes, _outputs: Outputs, _number: int, path: Path) -> None:
        path.write_text(f"{planes.soft.mean()}")  # type: ignore[union-attr]

    mean = Kind(("mask",), "", ("soft",), lambda _outputs, _facts: ["_mean.txt"], write)
    monkeypatch.setitem(KINDS, "mean", mean)
    predict_files(made_predictor("cat"), [draw(tmp_path / "in", 1)], tmp_path / "out")
    assert float((tmp_path / "out" / "0_mean.txt").read_text()) > 0


def test_several_classes_have_a_file_each_when_soft(tmp_path: Path) -> None:
    predictor = made_predictor("red cat", "dog/2")
    predict_files(predictor, [draw(tmp_path / "in", 1)], tmp_path / "out", outputs=Outputs(soft=8))
    assert names(tmp_path / "out") == ["0_soft_dog_2.png", "0_soft_red_cat.png", "predict.json"]
    assert opened(tmp_path / "out" / "0_soft_red_cat.png").max() > 200
    assert opened(tmp_path / "out" / "0_soft_dog_2.png").max() == 0


def test_a_pixel_above_one_classes_threshold_alone_is_of_that_class(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), [80, 140, 0], np.uint8)).save(tmp_path / "a.png")
    predictor = made_predictor("cat", "dog", threshold="best", thresholds={"best": [0.2, 0.7]})
    predict_files(predictor, [tmp_path / "a.png"], tmp_path / "out")
    assert (opened(tmp_path / "out" / "a_mask.png") == 1).all()


@pytest.mark.parametrize("count", [1, 17, 40])
def test_a_pipeline_loses_and_swaps_nothing(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    root = draw(tmp_path / "in", count)
    (root / "5a.png").write_bytes(b"broken")
    Image.fromarray(np.full((70, 90, 3), 255, np.uint8)).save(root / "6a.png")
    monkeypatch.setattr(pipeline, "LARGE", 5000)  # in bands
    monkeypatch.setattr(pipeline, "PIXELS", 6000)  # a few at a time
    seen: list[tuple[int, int]] = []
    threads = torch.get_num_threads()
    done = predict_files(
        made_predictor("cat"), [root], tmp_path / "out", progress=lambda now, all_: seen.append((now, all_))
    )
    assert torch.get_num_threads() == threads
    assert done["written"] == count + 1
    assert list(done["failed"]) == [str(root / "5a.png")]
    assert "not in a known file format" in done["failed"][str(root / "5a.png")]
    assert seen == [(number, count + 2) for number in range(1, count + 3)]
    assert (opened(tmp_path / "out" / "6a_mask.png") == 255).all()
    for number in range(count):
        mask = made_predictor("cat")(read_image(root / f"{number}.png")).mask
        assert np.array_equal(opened(tmp_path / "out" / f"{number}_mask.png") > 0, mask)


def test_half_a_set_is_made_again_and_a_whole_one_kept(tmp_path: Path) -> None:
    root, out, predictor = draw(tmp_path / "in", 3), tmp_path / "out", made_predictor("cat", depth=True)
    predict_files(predictor, [root], out)
    (out / "1_depth.png").unlink()
    (out / "1_mask.png").write_bytes(b"half")
    (out / "2_mask.png").write_bytes(b"mine")
    done = predict_files(predictor, [root], out)
    assert (done["written"], done["kept"]) == (1, 2)
    assert opened(out / "1_mask.png").shape == (24, 32)
    assert (out / "2_mask.png").read_bytes() == b"mine"
    done = predict_files(predictor, [root], out, outputs=Outputs(cutout=True, boxes=True))
    assert (done["written"], done["kept"]) == (3, 0)
    (root / "3.png").write_bytes((root / "0.png").read_bytes())
    done = predict_files(predictor, [root], out, outputs=Outputs(cutout=True, boxes=True))
    assert (done["written"], done["kept"]) == (1, 3)
    document = json.loads((out / "boxes.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert len(document["annotations"]) == 4
    done = predict_files(predictor, [root], out, overwrite=True)
    assert (done["written"], done["kept"]) == (4, 0)
    assert done["images_per_second"] is not None


def test_results_of_two_networks_or_settings_are_not_mixed(tmp_path: Path) -> None:
    root, out = draw(tmp_path / "in", 1), tmp_path / "out"
    predict_files(made_predictor("cat"), [root], out, settings={"replace": "red"})
    predict_files(made_predictor("cat"), [root], out)
    for predictor, settings, said in (
        (made_predictor("cat", seed=1), {}, "by another network"),
        (made_predictor("cat", threshold=0.7), {}, r"threshold \[0.5\], which is now \[0.7\]"),
        (made_predictor("cat"), {"replace": "blue"}, "replace red, which is now blue"),
    ):
        with pytest.raises(OutputError, match=said):
            predict_files(predictor, [root], out, settings=settings)
        with pytest.raises(OutputError, match="Choose another --out, or give --overwrite"):
            predict_files(predictor, [root], out, settings=settings)
    predict_files(made_predictor("cat", threshold=0.7), [root], out, overwrite=True)
    predict_files(made_predictor("cat", threshold=0.7), [root], out)


def test_what_a_network_does_not_predict_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    root, out = draw(tmp_path / "in", 1), tmp_path / "out"
    for predictor, outputs, said in (
        (made_predictor(depth=True), Outputs(cutout=True), "--cutout needs a mask.*predicts depth alone"),
        (made_predictor(depth=True), Outputs(soft=8), "--soft needs a mask"),
        (made_predictor(depth=True), Outputs(boxes=True), "--boxes needs a mask"),
        (made_predictor("cat"), Outputs(lens=Lens(60)), "--ply needs a depth"),
        (made_predictor(depth=True, depth_kind="disparity"), Outputs(lens=Lens(60)), "disparity"),
    ):
        with pytest.raises(UsageError, match=said):
            predict_files(predictor, [root], out, outputs=outputs)
    assert not out.exists()
    with pytest.raises(UsageError, match="--soft 7"):
        Outputs(soft=7)
    with pytest.raises(UsageError, match="--min-area 0"):
        Outputs(min_area=0)
    predict_files(made_predictor(depth=True), [root], out, outputs=Outputs(npy=True, preview=True))
    assert names(out) == ["0_depth.npy", "0_depth.png", "0_preview.png", "depth.json", "predict.json"]


def test_backgrounds_are_found_by_name_and_ambiguous_ones_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 2)
    draw(root / "sub", 1)
    empty = tmp_path / "empty"
    for name, value in (("0", 0), ("sub/0", 255), ("1", 0)):
        (empty / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), value, np.uint8)).save(empty / f"{name}.png")
    predictor = made_predictor("cat", background=True)
    done = predict_files(predictor, [root], tmp_path / "out", background=empty)
    assert done["written"] == 3
    assert opened(tmp_path / "out" / "0_mask.png").mean() < 128
    assert opened(tmp_path / "out" / "sub" / "0_mask.png").mean() > 128, "the one in its own folder"
    (empty / "1.png").rename(empty / "other.png")
    done = predict_files(predictor, [root / "0.png", root / "1.png"], tmp_path / "two", background=empty / "sub")
    assert "no background named 1" in done["failed"][str(root / "1.png")]
    shutil.copytree(empty, empty / "again")
    (root / "1.png").rename(root / "other.png")
    done = predict_files(
        predictor, [root / "sub", root / "other.png"], tmp_path / "three", background=tmp_path / "empty"
    )
    assert done["written"] == 2
    (empty / "other.png").rename(empty / "sub" / "other.png")
    done = predict_files(predictor, [root / "other.png"], tmp_path / "four", background=empty)
    assert "are both backgrounds named other" in done["failed"][str(root / "other.png")]
    with pytest.raises(DataError, match="is not there"):
        predict_files(predictor, [root], tmp_path / "out", background=tmp_path / "nothing")
    with pytest.raises(UsageError, match="leave --background out"):
        predict_files(made_predictor("cat"), [root], tmp_path / "out", background=empty)


def test_videos_are_predicted_frame_by_frame_and_gone_on_with(tmp_path: Path) -> None:
    path, out, predictor = film(tmp_path / "clip.avi"), tmp_path / "out", made_predictor("cat")
    done = predict_files(predictor, [path], out, every=4)
    assert done["written"] == 3
    done = predict_files(predictor, [path], out, every=2)
    assert (done["written"], done["kept"]) == (3, 3)
    assert names(out) == [f"clip/{number:06d}_mask.png" for number in range(0, 12, 2)] + ["predict.json"]


def test_a_full_disk_ends_it_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = draw(tmp_path / "in", 40)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        predict_files(made_predictor("cat"), [root], tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".png"]


COMMAND = """
import sys
from pathlib import Path
from made_networks import made_predictor
from basrelief.inference import predict_files
from basrelief.inference.kinds import Outputs
predict_files.predict_files(
    made_predictor("cat", depth=True, side=64),
    [sys.argv[1]],
    Path(sys.argv[2]),
    outputs=Outputs(cutout=True, boxes=True),
)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_command_is_gone_on_with(tmp_path: Path, how: signal.Signals) -> None:
    root, out = draw(tmp_path / "in", 300, (60, 90)), tmp_path / "out"
    places = [str(Path(__file__).parents[1]), *sys.path]
    words = [sys.executable, "-c", COMMAND, str(root), str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while process.poll() is None and len(list(out.glob("*_cutout.png"))) < 20 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(how)
    process.wait(timeout=60)
    whole = [path.name.removesuffix("_cutout.png") for path in out.glob("*_cutout.png")]
    assert 20 <= len(whole) < 300
    for path in out.glob("[!.]*.png"):
        with Image.open(path) as picture:
            picture.load()
    predictor = made_predictor("cat", depth=True, side=64)
    done = predict_files(predictor, [root], out, outputs=Outputs(cutout=True, boxes=True))
    assert done["kept"] + done["written"] == 300
    assert done["kept"] > 0
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]
    assert len(json.loads((out / "boxes.json").read_text())["annotations"]) == 300


def test_a_picture_much_larger_than_those_in_training_is_worth_a_note_once(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 3, (300, 400))
    done = predict_files(made_predictor("cat", image_size=[24, 32]), [root], tmp_path / "out")
    assert "--tile 32" in done["note"]
    assert done["note"].count("--tile") == 1
    assert predict_files(made_predictor("cat"), [root], tmp_path / "two")["note"] == ""


@pytest.mark.parametrize("classes", [("cat",), ("cat", "dog")])
def test_floats_kept_on_disk_are_those_kept_in_memory(
    tmp_path: Path, classes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw(tmp_path / "in", 2, (70, 90))
    predictor = made_predictor(*classes, depth=True)
    predict_files(predictor, [root], tmp_path / "memory", outputs=Outputs(npy=True))
    monkeypatch.setattr(pipeline, "LARGE", 5000)
    monkeypatch.setattr("basrelief.inference.tiles.BAND_PIXELS", 700)
    predict_files(predictor, [root], tmp_path / "disk", outputs=Outputs(npy=True))
    for path in sorted((tmp_path / "memory").glob("*.npy")):
        assert np.array_equal(np.load(tmp_path / "disk" / path.name), np.load(path))
    assert len(list((tmp_path / "disk").glob("*.npy"))) == 4


def test_a_picture_of_very_many_tiles_is_worth_a_note(tmp_path: Path) -> None:
    root = draw(tmp_path / "in", 1, (600, 800))
    done = predict_files(made_predictor("cat", image_size=[16, 16]), [root], tmp_path / "out")
    assert "tiles" in done["note"]
    assert "--tile none" in done["note"]
