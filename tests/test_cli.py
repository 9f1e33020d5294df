"""The command line, as real processes or through the same entry: exit codes, messages, and pure JSON."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import basrelief as br
from basrelief.data import open_source
from commands import run
from support import write_folder

SMALL = ["--network", "masknet", "--resolution", "16", "--epochs", "1", "--batch-size", "4", "--precision", "fp32"]
TWO = ["--loss", "bce(mask)", "--loss", "dice(mask)"]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "basrelief.cli", *map(str, words)]


def without_nan(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_study_from_images_to_report(capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    code, printed, said = run(capsys, "study", discs, *TWO, *SMALL, "--seeds", 2, "--out", out, "--json")
    assert code == 0
    document = without_nan(printed)
    verdict = without_nan((out / "verdict.json").read_text())
    assert {**verdict, "out": str(out), "written": str(out / "report.html")} == document
    assert verdict["primary"] == "mask/iou"
    assert [row["name"] for row in verdict["losses"]] == ["bce(mask)", "dice(mask)"]
    assert {"name", "expression", "mean", "ci", "seeds", "failed"} <= verdict["losses"][0].keys()
    assert {"a", "b", "difference", "ci", "decision", "more_seeds"} <= verdict["pairs"][0].keys()
    assert "255 the figure" in said
    assert "At that pace the other 3 trainings take" in said
    scores = pl.read_parquet(out / "scores.parquet")
    assert set(scores.columns) >= {"loss", "seed", "split", "id", "group", "mask/iou"}
    assert len(scores.filter(pl.col("split") == "test")) == 4 * len(set(scores.filter(pl.col("split") == "test")["id"]))
    html = (out / "report.html").read_text()
    assert verdict["summary"].split(":")[0] in html
    assert not list(out.rglob("last.safetensors")), "a study keeps no optimizer state"
    hashes = {json.loads(p.read_text())["initial_weights"] for p in out.glob("trials/*/seed-0/run.json")}
    assert len(hashes) == 1


def test_one_seed_exits_well_and_decides_nothing(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path
) -> None:
    code, printed, _ = run(capsys, "study", discs, *TWO, *SMALL, "--seeds", 1, "--out", tmp_path / "s", "--json")
    document = without_nan(printed)
    assert code == 0
    assert document["winner"] is None
    assert document["pairs"][0]["ci"] == [None, None]


def test_depth_alone_in_metres_with_unknown_pixels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", depths=True)
    shutil.rmtree(folder / "masks")
    words = ["--network", "resunet", "--resolution", "16", "--epochs", "1", "--precision", "fp32", "--seeds", 2]
    out = tmp_path / "study"
    code, printed, said = run(
        capsys,
        "study",
        folder,
        "--depth-scale",
        "0.001",
        "--depth-invalid",
        "0,65535",
        "--loss",
        "rmse(depth)",
        "--loss",
        "l1(depth)",
        *words,
        "--out",
        out,
        "--json",
    )
    document = without_nan(printed)
    assert code == 0
    assert document["primary"] == "depth/rmse"
    assert 0 < document["losses"][0]["mean"] < 3, "metres, not millimetres"
    assert "metres" in said
    baseline = next(iter(document["baselines"].values()))["depth/rmse"]
    assert 0 < baseline < 1


def test_a_folder_alone_is_enough(capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path) -> None:
    _, _, said = run(capsys, "study", discs, "--epochs", 1, "--seeds", 1, "--out", tmp_path / "s")
    for picked in ("Losses: bce(mask); dice(mask); bce(mask) + dice(mask)", "Network: relief", "Resolution: 48x64"):
        assert picked in said


def test_the_same_command_again_trains_nothing_and_another_is_refused(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path
) -> None:
    words = ["study", discs, *TWO, *SMALL, "--seeds", 2, "--out", tmp_path / "s"]
    run(capsys, *words)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("best.safetensors")}
    code, _, said = run(capsys, *words)
    assert code == 0
    assert said.count("kept") == 4
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("best.safetensors")} == before
    code, _, said = run(capsys, *words, "--lr", "0.01")
    assert code == 1
    assert "holds another study (train.lr: not given there, 0.01 asked for)" in said
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    code, _, said = run(capsys, *words[:-1], tmp_path / "full")
    assert code == 1
    assert "thesis.txt" in said
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


def test_data_changed_since_is_not_mixed_into_a_study(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path
) -> None:
    words = ["study", discs, *TWO, *SMALL, "--seeds", 1, "--out", tmp_path / "s"]
    run(capsys, *words)
    Image.new("RGB", (32, 24), "red").save(discs / "images" / "03.png")
    code, _, said = run(capsys, *words)
    assert code == 1
    assert "has changed since" in said


def test_killed_in_the_middle_and_started_again_gives_the_same_verdict(tmp_path: Path) -> None:
    words = ["study", "scenes:40", *TWO, *SMALL, "--epochs", "3", "--seeds", 2]
    subprocess.run(command(*words, "--out", tmp_path / "whole"), check=True, capture_output=True)
    with subprocess.Popen(command(*words, "--out", tmp_path / "cut"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:  # the second trial is under way when the first is reported
            if line.startswith("· [1/4]"):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "verdict.json").exists()
    again = subprocess.run(command(*words, "--out", tmp_path / "cut"), check=True, capture_output=True, text=True)
    assert "[1/4] bce(mask), seed 0: kept" in again.stderr
    assert (tmp_path / "cut" / "verdict.json").read_text() == (tmp_path / "whole" / "verdict.json").read_text()
    assert not list((tmp_path / "cut").rglob(".partial-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_hand_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    words = command(
        "study", "scenes:40", *TWO, *SMALL, "--epochs", "3", "--seeds", 2, "--out", tmp_path / "s", "--json"
    )
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.startswith("· [1/4]"):
                process.send_signal(number)
                break
        said, printed = process.stderr.read(), process.stdout.read()
    assert process.returncode == 1
    assert "The same command goes on from whatever was finished" in said
    assert "Traceback" not in said
    assert "error" in json.loads(printed)


def test_two_commands_on_one_folder_at_once_are_refused(discs: Path, tmp_path: Path) -> None:
    from basrelief.folders import only_writer

    with only_writer(tmp_path / "s"):
        done = subprocess.run(
            command("study", discs, *TWO, *SMALL, "--out", tmp_path / "s"), capture_output=True, text=True
        )
    assert done.returncode == 1
    assert "Another basrelief command is at work" in done.stderr


def test_a_diverging_loss_is_counted_as_failed_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path
) -> None:
    words = ["--optimizer", "sgd", "--lr", "1e30", "--activation", "mask=identity", "--seeds", 2]
    code, printed, said = run(
        capsys,
        "study",
        discs,
        "--loss",
        "mse(mask)",
        "--loss",
        "1e-33*mse(mask)",
        *SMALL,
        *words,
        "--out",
        tmp_path / "s",
        "--json",
    )
    document = without_nan(printed)
    assert code == 0
    assert [row["failed"] for row in document["losses"]] == [2, 0]
    assert document["losses"][0]["mean"] is None
    assert document["pairs"][0]["difference"] is None
    assert "failed" in said
    assert "no longer finite" in (tmp_path / "s" / "report.html").read_text()


def test_train_evaluate_predict(capsys: pytest.CaptureFixture[str], discs_with_depth: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, printed, _ = run(
        capsys,
        "train",
        discs_with_depth,
        "--loss",
        "bce(mask) + rmse(depth)",
        "--network",
        "resunet",
        "--resolution",
        "16",
        "--epochs",
        1,
        "--depth-scale",
        "0.001",
        "--out",
        out,
        "--json",
    )
    document = without_nan(printed)
    assert code == 0
    assert {"run", "metrics", "images_per_second", "seconds", "parameters"} <= document.keys()
    assert document["run"] == str(out)

    code, printed, _ = run(capsys, "evaluate", out, "--json")
    assert code == 0
    scored = without_nan(printed)
    assert scored["images"] == document["samples"]["test"]
    assert scored["metrics"]["depth/rmse"] > 0
    code, printed, _ = run(capsys, "evaluate", out, discs_with_depth, "--json")
    assert without_nan(printed)["metrics"] == scored["metrics"], "its own data means its own test images"

    code, printed, _ = run(capsys, "predict", out, discs_with_depth / "images", "--out", tmp_path / "p", "--json")
    assert code == 0
    assert without_nan(printed)["written"] == 12
    mask = np.asarray(Image.open(tmp_path / "p" / "03_mask.png"))
    assert mask.shape == (24, 32)
    assert set(np.unique(mask)) <= {0, 255}
    depth = Image.open(tmp_path / "p" / "03_depth.png")
    facts = json.loads((tmp_path / "p" / "depth.json").read_text())
    assert float(depth.text["scale"]) == facts["scale"]  # type: ignore[attr-defined]
    assert facts["unit"] == "m"
    result = br.load_predictor(out)(Image.open(discs_with_depth / "images" / "03.png"))
    assert result.depth is not None
    assert np.abs(np.asarray(depth) * facts["scale"] - result.depth).max() <= facts["scale"]
    assert np.array_equal(mask > 0, result.mask)


def test_predict_keeps_existing_files_and_lists_broken_inputs(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path
) -> None:
    run(capsys, "study", discs, *TWO, *SMALL, "--seeds", 1, "--out", tmp_path / "s")
    (tmp_path / "in").mkdir()
    shutil.copy(discs / "images" / "00.png", tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    words = ["predict", tmp_path / "s", tmp_path / "in", "--out", tmp_path / "p"]
    code, printed, said = run(capsys, *words)
    assert code == 1
    assert "1 predicted into" in printed
    assert "b.png" in said
    assert "no loss won; the best mean" in said
    (tmp_path / "p" / "a_mask.png").write_bytes(b"mine")
    run(capsys, *words)
    assert (tmp_path / "p" / "a_mask.png").read_bytes() == b"mine"
    run(capsys, *words, "--overwrite")
    assert (tmp_path / "p" / "a_mask.png").read_bytes() != b"mine"


def test_a_network_with_backgrounds_asks_for_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(capsys, "train", "scenes:12", "--loss", "bce", *SMALL, "--out", tmp_path / "run")
    sample = open_source("scenes:12").load(open_source("scenes:12").entries[0])
    Image.fromarray(sample.image).save(tmp_path / "image.png")
    Image.fromarray(sample.background).save(tmp_path / "empty.png")  # type: ignore[arg-type]
    code, _, said = run(capsys, "predict", tmp_path / "run", tmp_path / "image.png", "--out", tmp_path / "p")
    assert code == 2
    assert "--background" in said
    code, _, _ = run(
        capsys,
        "predict",
        tmp_path / "run",
        tmp_path / "image.png",
        "--out",
        tmp_path / "p",
        "--background",
        tmp_path / "empty.png",
    )
    assert code == 0
    assert (tmp_path / "p" / "image_mask.png").exists()


def test_several_classes_give_a_palette_of_numbers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data")
    for i, path in enumerate(sorted((folder / "masks").iterdir())):
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * (1 + i % 2)).save(path)
    (folder / "classes.txt").write_text("background\nsun\nmoon\n")
    code, printed, _ = run(capsys, "train", folder, "--loss", "bce", *SMALL, "--out", tmp_path / "run", "--json")
    assert code == 0
    assert {"mask/iou/sun", "mask/dice/moon"} <= without_nan(printed)["metrics"].keys()
    run(capsys, "predict", tmp_path / "run", folder / "images", "--out", tmp_path / "p")
    mask = Image.open(tmp_path / "p" / "00_mask.png")
    assert mask.mode == "P"
    assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}


def test_report_is_written_again_in_each_form(capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    run(capsys, "study", discs, *TWO, *SMALL, "--seeds", 2, "--out", out)
    before = (out / "verdict.json").read_text()
    (out / "verdict.json").unlink()
    assert run(capsys, "report", out, "--to", "markdown")[0] == 0
    assert (out / "verdict.json").read_text() == before
    assert "bce(mask)" in (out / "report.md").read_text()
    assert run(capsys, "report", out, "--to", "png")[0] == 0
    with Image.open(out / "report.png") as picture:
        assert picture.size[0] > 500
    assert run(capsys, "report", out, "--to", "json", "--json")[0] == 0
    code, _, said = run(capsys, "report", out, "--to", "docx")
    assert code == 2
    assert "'docx'" in said
    code, _, said = run(capsys, "report", discs)
    assert code == 1
    assert "no study" in said


@pytest.mark.parametrize("kind", ["losses", "metrics", "models", "formats"])
def test_tables_are_listed(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    code, printed, _ = run(capsys, "list", kind, "--json")
    assert code == 0
    assert all({"name", "summary"} <= line.keys() for line in without_nan(printed))
    assert run(capsys, "list", kind)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--loss", "dise(mask)"], 2, "Did you mean 'dice'?"),
        (["--loss", "bce(mask"], 2, "^"),
        (["--loss", "rmse(depth)"], 2, "needs depth, which"),
        (["--loss", "bce", "--loss", "bce(mask)"], 2, "given twice"),
        (["--loss", "ssim(mask)", "--resolution", "8"], 2, "smaller than its window"),
        (["--metric", "mask/iuo"], 2, "Did you mean 'mask/iou'?"),
        (["--metric", "mask/iou_pooled"], 2, "such as 'mask/iou'"),
        (["--metric", "depth/rmse"], 2, "needs depth"),
        (["--network", "resnet"], 2, "Did you mean 'resunet'?"),
        (["--resolution", "64x"], 2, "--resolution '64x'"),
        (["--resolution", "4"], 2, "--resolution"),
        (["--epochs", "0"], 2, "--epochs 0"),
        (["--lr", "-1"], 2, "--lr"),
        (["--optimizer", "adamx"], 2, "--optimizer 'adamx'"),
        (["--activation", "mask=relu"], 2, "Unknown activation 'relu'"),
        (["--activation", "mask"], 2, "--activation 'mask'"),
        (["--split", "70/30"], 2, "--split '70/30'"),
        (["--depth-invalid", "0;1"], 2, "--depth-invalid '0;1'"),
        (["--mask-map", "0-1"], 2, "0-1"),
        (["--device", "gpu"], 2, "--device 'gpu'"),
        (["--format", "foldr"], 2, "Did you mean 'folder'?"),
        (["--weights", "nowhere"], 2, "nowhere"),
        (["--group-file", "nowhere.csv"], 1, "nowhere.csv"),
        (["--no-such-option"], 2, "no-such-option"),
    ],
)
def test_a_wrong_word_ends_in_one_message(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    found, _, said = run(capsys, "study", discs, "--epochs", 1, "--seeds", 1, "--out", tmp_path / "s", *words)
    assert found == code
    assert message in said


def test_with_json_an_error_is_a_document_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, printed, said = run(capsys, "study", tmp_path / "nowhere", "--json")
    assert code == 1
    assert "nowhere is not there" in without_nan(printed)["error"]
    assert "nowhere is not there" in said


def test_a_full_disk_ends_in_one_message_and_the_next_try_goes_on(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["study", discs, *TWO, *SMALL, "--seeds", 1, "--out", tmp_path / "s"]
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", _full_at("best.safetensors", 2))
    code, _, said = run(capsys, *words)
    assert code == 1
    assert "No space left" in said
    monkeypatch.setattr(Path, "replace", replace)
    code, _, said = run(capsys, *words)
    assert code == 0
    assert "[1/2] bce(mask), seed 0: kept" in said


def _full_at(name: str, which: int):  # type: ignore[no-untyped-def]
    """A ``Path.replace`` that finds the disk full at the ``which``-th file of that name."""
    real, seen = Path.replace, [0]

    def replace(self: Path, target: Path) -> Path:
        seen[0] += Path(target).name == name
        if seen[0] == which:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return real(self, target)

    return replace


def test_a_really_full_disk(discs: Path, tmp_path: Path) -> None:
    """The same on a real file system of one megabyte, where the machine lets us mount one."""
    script = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'
    (tmp_path / "small").mkdir()
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", script, tmp_path / "small", "true"], capture_output=True)
    if shutil.which("unshare") is None or probe.returncode:
        pytest.skip("no file system can be mounted here")
    words = command("study", discs, *TWO, "--network", "resunet", "--resolution", "64", "--epochs", "1", "--seeds", "1")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, tmp_path / "small", *words, "--out", tmp_path / "small" / "s"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    from basrelief import __version__

    assert run(capsys, "--version")[1].strip() == __version__
    for name in ("demo", "inspect", "study", "train", "evaluate", "predict", "report", "list"):
        code, printed, _ = run(capsys, name, "--help")
        assert code == 0
        assert "--json" in printed
