"""A study's plan, data and split are made once and found again; anything that changed since is noticed."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import basrelief as br
from basrelief import app
from basrelief.config import StudySettings
from basrelief.data.store import Store
from basrelief.engine.machine import Machine
from basrelief.engine.run_plan import RunPlan
from basrelief.errors import BasreliefError, DataError, OutOfMemoryError, OutputError, UsageError
from basrelief.studies.find import find_run
from basrelief.studies.prepare import canonical
from basrelief.studies.repeat import repeat_command
from basrelief.studies.stored import reopen
from support import write_folder

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "batch_size": 4, "precision": "fp32", "seeds": 1, "lr": 1e-3,
    "losses": ("bce(mask)", "dice(mask)"),
}  # fmt: skip


def test_a_split_file_changed_since_is_refused_and_the_study_stays_usable(discs: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    lines = ["id,split", *(f"{i:02d},{('train', 'train', 'val', 'test')[i % 4]}" for i in range(12))]
    path.write_text("\n".join(lines))
    out = tmp_path / "s"
    br.study(discs, out=out, split=str(path), **SMALL)
    path.write_text("\n".join(lines).replace("00,train", "00,test"))
    with pytest.raises(OutputError, match="another than when"):
        br.study(discs, out=out, split=str(path), **SMALL)
    path.unlink()
    assert len(reopen(out).split.rows["test"]) == 3
    assert br.load_predictor(out).resolution == (16, 16)


def test_weights_that_have_changed_since_are_noticed(discs: Path, tmp_path: Path) -> None:
    """Else the trials that were still to come would start from other weights than those before."""
    alone = {name: value for name, value in SMALL.items() if name not in ("seeds", "losses")}
    given = tmp_path / "given"
    br.train(discs, out=given, loss="bce(mask)", **alone)
    br.study(discs, out=tmp_path / "s", weights=str(given), **SMALL)
    (next((tmp_path / "s").glob("trials/01-*/seed-0")) / "run.json").unlink()
    other = br.train(discs, out=tmp_path / "other", loss="bce(mask)", seed=1, **alone)
    (given / "best.safetensors").write_bytes((Path(other["run"]) / "best.safetensors").read_bytes())
    with pytest.raises(OutputError, match="are others than when"):
        br.study(discs, out=tmp_path / "s", weights=str(given), **SMALL)


def test_memory_that_ran_out_is_no_failure_of_the_loss(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program had the memory, say: the same command tries the trial again."""

    def full(*_: Any, **__: Any) -> None:
        raise OutOfMemoryError("Out of memory on cuda:0.")

    with monkeypatch.context() as patched:
        patched.setattr("basrelief.studies.trials.train_run", full)
        with pytest.raises(OutOfMemoryError):
            br.study(discs, out=tmp_path / "s", **SMALL)
    verdict = br.study(discs, out=tmp_path / "s", **SMALL)
    assert [row["failed"] for row in verdict["losses"]] == [0, 0]


def test_a_mistake_leaves_the_folder_free_for_the_corrected_command(discs: Path, tmp_path: Path) -> None:
    for wrong in ({"weights": "nowhere"}, {"split": "nowhere.csv"}, {"depth_max": 3.0, "metric": "depth/rmse"}):
        with pytest.raises(BasreliefError):
            br.study(discs, out=tmp_path / "s", **{**SMALL, **wrong})
    with pytest.raises(DataError):
        br.study(tmp_path / "nowhere", out=tmp_path / "t", **SMALL)
    assert not (tmp_path / "t").exists()
    assert br.study(discs, out=tmp_path / "s", **SMALL)["losses"]


def test_equal_requests_are_equal_however_they_are_spelt(discs: Path) -> None:
    def asked(data: str, *losses: str, **options: Any) -> StudySettings:
        settings: StudySettings = app.settings_from({"location": data, "losses": losses, **options}, StudySettings)
        return canonical(settings)

    one = asked(str(discs), "bce(mask)+2*dice(mask)", resolution="48x64", depth_invalid="65535,0,nan")
    two = asked(f"{discs}/", "bce + dice*2", resolution=(48, 64), depth_invalid=(0, 65535))
    assert one == two


def test_a_misspelt_option_is_named_with_the_nearest_one(discs: Path) -> None:
    with pytest.raises(UsageError, match=r"'epoch'. Did you mean 'epochs'"):
        br.study(discs, epoch=3)
    with pytest.raises(UsageError, match=r"'losses'. Did you mean 'loss'"):
        br.train(discs, losses=("bce(mask)",))


def test_a_target_that_the_metric_needs_must_be_in_the_test_images(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", depths=True)
    for path in sorted((folder / "depths").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="known depth"):
        br.study(folder, out=tmp_path / "s", **{**SMALL, "network": "resunet", "losses": ("rmse(depth)",)})
    assert not (tmp_path / "s" / "plan.json").exists()


def test_single_image_batches_that_cannot_train_are_refused_at_once(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="larger --batch-size"):
        br.study(discs, out=tmp_path / "s", **{**SMALL, "network": "resunet", "batch_size": 1})


@pytest.mark.parametrize(
    "activation", ["mask=softmax", "mask=identity"], ids=["softmax of one channel", "bce without its sigmoid"]
)
def test_activations_that_contradict_the_loss_are_refused(discs: Path, tmp_path: Path, activation: str) -> None:
    with pytest.raises(UsageError, match="--activation"):
        br.study(discs, out=tmp_path / "s", activation=activation, **SMALL)


def test_classes_with_odd_names_reach_the_report(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data")
    for i, path in enumerate(sorted((folder / "masks").iterdir())):
        Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * (1 + i % 2)).save(path)
    (folder / "classes.txt").write_text("background\nroad/street\na <b>, c\n")
    br.study(folder, out=tmp_path / "s", **SMALL)
    html = (tmp_path / "s" / "report.html").read_text()
    assert "mask/iou/road/street" in html
    assert "a <b>" not in html


def test_one_class_has_no_metric_of_its_own(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mask/iou/figure"):
        br.study(discs, out=tmp_path / "s", metric="mask/iou/figure", **SMALL)


def test_the_command_in_the_report_asks_for_the_same_study(discs: Path, tmp_path: Path) -> None:
    options = {"margin": 0.01, "momentum": 0.8, "optimizer": "sgd", "weight_decay": 0.001, "background": False}
    br.study(discs, out=tmp_path / "s", **{**SMALL, **options, "losses": ("mine = bce + dice", "dice")})
    words = shlex.split(repeat_command(json.loads((tmp_path / "s" / "plan.json").read_text())))
    assert words[:3] == ["basrelief", "study", str(discs)]
    given = " ".join(words)
    for part in (
        "--loss mine = bce(mask) + dice(mask)", "--loss dice(mask)", "--margin 0.01", "--momentum 0.8",
        "--resolution 16x16",
        "--optimizer sgd", "--weight-decay 0.001", "--no-background", "--precision fp32", "--epochs 1", "--seeds 1",
    ):  # fmt: skip
        assert part in given


def test_latest_points_at_the_newest_study_that_began(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    br.study(discs, **SMALL)
    assert Path("runs/latest").resolve() == (tmp_path / "runs" / "discs").resolve()
    with pytest.raises(BasreliefError):
        br.study("nowhere", **SMALL)
    assert Path("runs/latest").resolve() == (tmp_path / "runs" / "discs").resolve()
    assert sorted(p.name for p in Path("runs").iterdir()) == ["discs", "latest"]
    br.study(discs, out="runs/latest", **SMALL)  # goes on where the link points
    assert Path("runs/latest").resolve() == (tmp_path / "runs" / "discs").resolve()


def test_a_trial_is_found_from_inside_its_own_folder_and_without_the_data(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    br.study(discs, out=tmp_path / "s", **SMALL)
    found = find_run(tmp_path / "s")
    assert "no loss won" in found.note
    monkeypatch.chdir(found.folder.parent)
    assert find_run(Path("seed-0")).home == (tmp_path / "s").resolve()
    assert br.evaluate("seed-0")["images"] > 0


def test_evaluation_on_other_data_reads_it_alike_and_leaves_out_what_was_seen(
    discs_with_depth: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    br.train(
        discs_with_depth, out=out, loss="bce(mask) + rmse(depth)", network="resunet", resolution=16, epochs=1,
        depth_scale=0.001,
    )  # fmt: skip
    home = br.evaluate(out)
    copy = tmp_path / "copy"
    copy.symlink_to(discs_with_depth)
    assert br.evaluate(out, copy)["metrics"] == home["metrics"]
    other = write_folder(tmp_path / "other", 14, depths=True)  # the same twelve, and two more
    scored = br.evaluate(out, other)
    assert scored["seen"] == 12 - home["images"]
    assert scored["images"] == 14 - scored["seen"]
    assert scored["metrics"]["depth/rmse"] < 10, "metres, not millimetres"
    with pytest.raises(UsageError, match="leave the options out"):
        br.evaluate(out, depth_scale=5.0)
    with pytest.raises(DataError, match="depth unit"):
        br.evaluate(out, other, depth_unit="ft")


def test_what_the_probe_picks_is_said_stored_and_shared_and_never_picked_again(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pick(plan: RunPlan, store: Store, rows: np.ndarray) -> tuple[Machine, str]:
        asked.append(plan.loss)
        return dataclasses.replace(plan.machine, channels_last=False, threads=1), "measured 2.0 times as fast"

    monkeypatch.setattr("basrelief.studies.prepare.probe_machine", pick)
    br.study(discs, out=tmp_path / "s", **SMALL)
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())["plan"]
    assert plan["machine"]["channels_last"] is False
    assert plan["said"][-1] == "Computed on: cpu, fp32, contiguous, 1 thread (measured 2.0 times as fast)."
    runs = [json.loads(path.read_text()) for path in (tmp_path / "s" / "trials").rglob("run.json")]
    assert [run["machine"] for run in runs] == [plan["machine"]] * 2
    br.study(discs, out=tmp_path / "s", **SMALL)
    assert asked == ["bce(mask)"]


def test_the_largest_batch_is_found_once_and_is_that_of_the_smallest_loss(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter((7, 3))
    monkeypatch.setattr("basrelief.studies.prepare.largest_batch", lambda plan, store, rows: next(sizes))
    for _ in range(2):
        br.study(discs, out=tmp_path / "s", **{**SMALL, "batch_size": "max"})
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())["plan"]
    assert plan["train"]["batch_size"] == 3
    assert "Batch size: 3, the largest that fits." in plan["said"]
    with pytest.raises(OutputError, match="batch_size"):
        br.study(discs, out=tmp_path / "s", **SMALL)


def test_a_training_that_will_not_fit_is_warned_of_each_time(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("basrelief.engine.memory.available_bytes", lambda device: 1000)
    for _ in range(2):
        said: list[str] = []
        watcher = app.Quiet()
        monkeypatch.setattr(watcher, "say", said.append)
        br.study(discs, out=tmp_path / "s", watcher=watcher, **SMALL)
        assert any(text.startswith("Memory: 4 images at once take about") for text in said)


def test_the_command_that_repeats_a_study_of_stages_asks_for_the_same(discs: Path, tmp_path: Path) -> None:
    import shlex

    from basrelief import cli
    from basrelief.files import read_json
    from basrelief.studies.repeat import repeat_command

    asked = {"network": "masknet", "resolution": "16:8x1,24x32:4x1", "clip": 1.0, "ema": 0.0, "freeze": "norms"}
    machine = {"precision": "fp32", "threads": 1, "device": "cpu"}
    br.study(discs, out=tmp_path / "s", losses=("bce(mask)",), seeds=1, **machine, **asked)
    plan = read_json(tmp_path / "s" / "plan.json")
    words = shlex.split(repeat_command(plan))
    assert words[words.index("--resolution") + 1] == "16:8x1,24x32:4x1"
    assert "--epochs" not in words
    assert words[words.index("--threads") + 1] == "1"
    cli.app([*words[1:], "--out", str(tmp_path / "again")], standalone_mode=False)
    again = read_json(tmp_path / "again" / "plan.json")
    for name in ("train", "losses", "machine"):
        assert again["plan"][name] == plan["plan"][name]
