"""What is written for those who watch: which points, once each, and nothing that could stop a training."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer
from torch import nn

from basrelief.batch import Batch
from basrelief.engine.machine import choose_machine
from basrelief.engine.run_files import write_history
from basrelief.engine.tracker_boards import flat
from basrelief.engine.trackers import Trackers, check_trackers, open_trackers
from basrelief.errors import OutputError, UsageError
from basrelief.models import MODELS, create_model

accelerate_tracking = pytest.importorskip("accelerate.tracking")

PLAN = {"loss": "bce(mask)", "settings": {"lr": 0.1, "network": None}, "heads": ["mask"]}


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return events.Reload()


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in read(folder).Scalars(name)]


def write_steps(trackers: Trackers, first: int, last: int) -> None:
    for step in range(first, last + 1):
        trackers.step(step, {"train/loss": 1 / step, "lr": 0.1})


def test_a_point_is_the_mean_of_the_steps_since_the_last_also_over_the_end_of_an_epoch(tmp_path: Path) -> None:
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=4)
    write_steps(trackers, 1, 6)
    trackers.epoch(6, {"epoch": 1, "step": 6, "train/loss": 0.5, "val/mask/iou": None, "lr": 0.1}, None)
    write_steps(trackers, 7, 11)
    trackers.close()
    points = curve(tmp_path, "steps/train/loss")
    assert [step for step, _ in points] == [4, 8]  # steps 9 to 11 stand in the record of their epoch alone
    means = [np.mean([1 / s for s in range(1, 5)]), np.mean([1 / s for s in range(5, 9)])]
    assert [value for _, value in points] == pytest.approx(means)
    assert curve(tmp_path, "train/loss") == [(6, 0.5)]
    tags = set(read(tmp_path).Tags()["scalars"])
    assert tags == {"steps/train/loss", "steps/lr", "train/loss", "lr"}  # neither epoch and step, nor what is None


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(1, 19), lost=st.integers(0, 6), every=st.integers(1, 7))
def test_a_resumed_curve_is_the_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, cut: int, lost: int, every: int
) -> None:
    # Files of one second are read in the order of their names, which end in a count: 10 would come before 9.
    event_file_writer._global_uid = event_file_writer.AtomicCounter(1000)
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    trackers = open_trackers(whole, ["tensorboard"], PLAN, done=0, every=every)
    write_steps(trackers, 1, 20)
    trackers.close()
    trackers = open_trackers(broken, ["tensorboard"], PLAN, done=0, every=every)
    write_steps(trackers, 1, cut)
    state = json.loads(json.dumps(trackers.state()))
    write_steps(trackers, cut + 1, cut + lost)  # after the last checkpoint, so done again
    trackers.epoch(cut + lost, {"val/mask/iou": 0.1}, None)
    trackers.close()
    trackers = open_trackers(broken, ["tensorboard"], PLAN, done=cut, every=every)
    trackers.restore(state)
    write_steps(trackers, cut + 1, 20)
    trackers.close()
    assert curve(broken, "steps/train/loss") == curve(whole, "steps/train/loss")
    if lost:
        assert not any(step > cut for step, _ in curve(broken, "val/mask/iou"))


def test_a_checkpoint_without_a_window_or_with_another_leaves_shorter_first_averages(tmp_path: Path) -> None:
    for state in (None, {"every": 3, "sums": {"train/loss": [100.0, 2]}}):
        trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=6, every=4)
        trackers.restore(state)
        trackers.step(7, {"train/loss": 1.0})
        trackers.step(8, {"train/loss": 2.0})
        trackers.close()
        assert curve(tmp_path, "steps/train/loss")[-1] == (8, 1.5)


def test_what_is_written_is_on_disk_when_a_checkpoint_is_taken(tmp_path: Path) -> None:
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=1)
    write_steps(trackers, 1, 3)
    trackers.state()
    assert len(curve(tmp_path, "steps/train/loss")) == 3  # though the process could be killed here
    trackers.close()


def test_values_that_overflowed_or_are_missing_do_not_spoil_an_average(tmp_path: Path) -> None:
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=4)
    for step, norm in enumerate([float("inf"), 1.0, None, 3.0], 1):
        trackers.step(step, {"train/loss": 1.0} | ({} if norm is None else {"gradient_norm": norm}))
    trackers.epoch(4, {"val/depth/rmse": float("nan"), "val/mask/iou": 0.5, "note": "text"}, None)
    trackers.close()
    assert curve(tmp_path, "steps/gradient_norm") == [(4, 2.0)]
    assert "val/depth/rmse" not in read(tmp_path).Tags()["scalars"]


def test_pictures_come_back_pixel_by_pixel(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=1)
    trackers.epoch(5, {}, {"samples/3": picture})
    trackers.close()
    (found,) = read(tmp_path).Images("samples/3")
    assert found.step == 5
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.encoded_image_string))), picture)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_drawn_and_left_as_it_was(name: str, full: bool, tmp_path: Path) -> None:
    targets = MODELS[name].targets if full else MODELS[name].targets[:1]
    model = create_model(name, mask_classes=2 * ("mask" in targets), depth="depth" in targets, background=full)
    frozen = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    frozen.eval()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    image = torch.rand(2, 3, 17, 30)
    torch.set_rng_state(drawn)
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trackers.graph(model, Batch(image, image if full else None))
    trackers.step(1, {"train/loss": 1.0})
    trackers.close()
    nodes = read(tmp_path).Graph().node
    assert len(nodes) > 20
    assert any("onv" in node.op for node in nodes)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_graph_stays_when_a_run_is_resumed_and_is_of_float32(tmp_path: Path) -> None:
    model = choose_machine("cpu", "bf16").accelerator().prepare(create_model("masknet"))
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=1)
    trackers.graph(model.to(memory_format=torch.channels_last), Batch(torch.rand(2, 3, 16, 16)))
    write_steps(trackers, 1, 4)
    trackers.close()
    open_trackers(tmp_path, ["tensorboard"], PLAN, done=2, every=1).close()
    events = read(tmp_path)
    assert len(events.Graph().node) > 20
    assert not any(node.op == "aten::to" for node in events.Graph().node)
    assert [point.step for point in events.Scalars("steps/train/loss")] == [1, 2]
    assert len(model(torch.rand(1, 3, 16, 16))) == 1


class Untraceable(nn.Module):
    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        raise RuntimeError("not while tracing")


def test_a_network_that_cannot_be_traced_is_said_and_the_rest_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=1, say=heard.append)
    trackers.graph(Untraceable(), Batch(torch.rand(1, 3, 8, 8)))
    write_steps(trackers, 1, 1)
    trackers.close()
    assert [line for line in heard if "can't be drawn" in line and "not while tracing" in line] == heard
    assert len(heard) == 1
    assert curve(tmp_path, "steps/lr")
    assert capsys.readouterr().out == ""  # kept for results


class Notebook(accelerate_tracking.GeneralTracker):  # type: ignore[misc, name-defined]
    """A tracker as a user may register one with accelerate; it prints to standard output as some do."""

    name = "notebook"
    requires_logging_directory = True
    lines: list[Any]
    breaks: str | None = None

    def __init__(self, run_name: str, logging_dir: str, **options: Any) -> None:
        super().__init__()
        self.lines.append(("init", run_name, logging_dir, options))

    @property
    def tracker(self) -> list[Any]:
        return self.lines

    def note(self, *line: Any) -> None:
        print(line[0])
        if self.breaks == line[0]:
            raise ConnectionError("no network\nand a long explanation")
        self.lines.append(line)

    def start(self) -> None:
        self.note("start")

    def store_init_configuration(self, values: dict) -> None:
        self.note("settings", values)

    def log(self, values: dict, step: int | None = None, **kwargs: Any) -> None:
        self.note("log", values, step)

    def log_images(self, values: dict, step: int | None = None, **kwargs: Any) -> None:
        self.note("images", values, step)

    def finish(self) -> None:
        self.note("finish")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> type[Notebook]:
    monkeypatch.setitem(accelerate_tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    monkeypatch.setattr(Notebook, "lines", [], raising=False)
    return Notebook


def test_another_tracker_gets_the_plan_clean_names_and_pictures_but_nothing_of_the_environment(
    tmp_path: Path, notebook: type[Notebook], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a-secret")
    trackers = open_trackers(tmp_path, ["notebook", "notebook"], PLAN, done=0, every=1)
    trackers.graph(create_model("masknet"), Batch(torch.rand(1, 3, 8, 8)))
    trackers.step(1, {"train/tversky(mask, alpha=0.3)": 1.0, "train/tversky[mask, alpha=0.3]": 2.0})
    trackers.epoch(1, {"val/mask/iou/cell": 0.5, "epoch": 1}, {"samples/3": np.zeros((2, 2, 3), np.uint8)})
    trackers.close()
    assert [line[0] for line in notebook.lines] == ["init", "start", "settings", "log", "log", "images", "finish"]
    assert notebook.lines[0][1:3] == ("basrelief", str(tmp_path))
    assert notebook.lines[2][1] == {
        "loss": "bce(mask)", "settings.lr": 0.1, "settings.network": None, "heads": '["mask"]'
    }  # fmt: skip
    first = {"steps/train.tversky_mask_alpha_0.3": 1.0, "steps/train.tversky_mask_alpha_0.3_": 2.0}
    assert notebook.lines[3][1:] == (first, 1)
    assert notebook.lines[4][1:] == ({"val/mask.iou.cell": 0.5}, 1)
    assert notebook.lines[5][1]["samples/3"][0].shape == (2, 2, 3)
    assert "a-secret" not in repr(notebook.lines)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("breaks", ["log", "images", "finish"])
def test_a_tracker_that_breaks_is_said_once_and_the_others_go_on(
    tmp_path: Path, notebook: type[Notebook], monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    monkeypatch.setattr(Notebook, "breaks", breaks)
    heard: list[str] = []
    trackers = open_trackers(tmp_path, ["notebook", "tensorboard"], PLAN, done=0, every=1, say=heard.append)
    write_steps(trackers, 1, 3)
    trackers.epoch(3, {"lr": 0.1}, {"samples/3": np.zeros((2, 2, 3), np.uint8)})
    trackers.close()
    assert len(heard) == 1
    assert "notebook" in heard[0]
    assert "ConnectionError: no network)" in heard[0]
    assert len(curve(tmp_path, "steps/lr")) == 3


def test_a_tracker_that_does_not_start_says_so_before_anything_is_trained(
    tmp_path: Path, notebook: type[Notebook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Notebook, "breaks", "start")
    with pytest.raises(OutputError, match=r"--tracker notebook does not start \(ConnectionError: no network\)"):
        open_trackers(tmp_path, ["notebook"], PLAN, done=0, every=1)


def test_a_resumed_run_does_not_send_its_settings_again(tmp_path: Path, notebook: type[Notebook]) -> None:
    open_trackers(tmp_path, ["notebook"], PLAN, done=5, every=1).close()
    assert [line[0] for line in notebook.lines] == ["init", "start", "finish"]


# TensorBoard's thread tells of the fault before its next caller does.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_ends_tensorboard_and_not_the_run(tmp_path: Path) -> None:
    heard: list[str] = []
    trackers = open_trackers(tmp_path, ["tensorboard"], PLAN, done=0, every=1, say=heard.append)
    writer: Any = trackers.boards[0]
    writer.writer.flush()
    queue = writer.writer._get_file_writer().event_writer._async_writer

    def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    queue._writer.write = full
    for step in range(1, 30):
        trackers.step(step, {"lr": 1.0})
        trackers.state()
    trackers.close()
    queue._worker.join(10)  # its own complaint belongs to this test
    assert len(heard) == 1
    assert "No space left" in heard[0]


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        open_trackers(tmp_path / "run", ["tensorboard"], PLAN, done=0, every=1)


def test_names_are_checked_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerate_tracking, "get_available_trackers", lambda: ["tensorboard"])
    assert check_trackers(["tensorboard", "tensorboard"]) == ("tensorboard",)
    assert check_trackers(["none"]) == check_trackers([]) == ()
    with pytest.raises(UsageError, match=r"'tensorbord'.*Did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    with pytest.raises(UsageError, match=r"pip install wandb.*Installed are: tensorboard"):
        check_trackers(["tensorboard", "wandb"])
    with pytest.raises(UsageError, match="none stands beside wandb"):
        check_trackers(["none", "wandb"])
    with pytest.raises(UsageError, match="--log-every 0"):
        open_trackers(Path(), [], PLAN, done=0, every=0)


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    trackers = open_trackers(tmp_path, ["none"], PLAN, done=0, every=1)
    write_steps(trackers, 1, 3)
    trackers.epoch(3, {"lr": 1.0}, {})
    trackers.close()
    assert list(tmp_path.iterdir()) == []


def test_settings_are_flattened_to_plain_values() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None, "f": Path("x")}
    assert flat(nested) == {"a.b.c": 1, "a.d": "[1, 2]", "e": None, "f": '"x"'}


def test_a_history_whose_columns_come_late_is_read_with_its_names_and_types(tmp_path: Path) -> None:
    term = 'train/dice(mask, like="monai")'
    history: list[dict[str, Any]] = [{"epoch": 1, "lr": 1, "val/a": None, "never": None}]
    history += [{"epoch": n, "lr": 0.1, "val/a": 0.5 if n > 150 else None, term: n} for n in range(2, 201)]
    write_history(tmp_path, history)
    frame = pl.read_parquet(tmp_path / "history.parquet")
    assert frame.columns == ["epoch", "lr", "val/a", "never", term]
    assert frame["val/a"].drop_nulls().to_list() == [0.5] * 50
    assert frame["never"].dtype == pl.Float64
    lines = np.genfromtxt(tmp_path / "history.csv", delimiter=",", skip_header=1)
    assert lines.shape == (200, 5)
    assert lines[-1].tolist() == pytest.approx([200, 0.1, 0.5, np.nan, 200], nan_ok=True)
