"""Files that would run something if they were trusted, given wherever a network may be given."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import basrelief as br
from basrelief.engine.weights import start_from
from basrelief.errors import DataError
from basrelief.inference.load import load
from commands import run as run_command
from networks import saved
from support import write_folder


class Evil:
    """What pickle, on loading, would make a call of: it creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def _plain(path: Path, trace: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(trace)))


def _torch(path: Path, trace: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(2), "b": Evil(trace)}}, path)


def _legacy(path: Path, trace: Path) -> None:
    torch.save({"a": torch.zeros(2), "b": Evil(trace)}, path, _use_new_zipfile_serialization=False)


def _numpy(path: Path, trace: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Evil(trace)], dtype=object), allow_pickle=True)


def _protocol_0(path: Path, trace: Path) -> None:
    path.write_bytes(f"cos\nsystem\n(S'touch {trace}'\ntR.".encode())


def _nested(path: Path, trace: Path) -> None:
    content = io.BytesIO()
    torch.save(Evil(trace), content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(trace)))
        archive.writestr("archive/version", "3\n")
        archive.writestr("../../escape.txt", "x")


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "plain": _plain, "torch": _torch, "legacy": _legacy, "numpy": _numpy, "protocol 0": _protocol_0, "nested": _nested,
}  # fmt: skip
SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".safetensors", ".onnx", ".pt2", "")


@pytest.fixture(params=WAYS)
def evil(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[str], Path], Path]:
    trace = tmp_path / "executed"

    def make(name: str) -> Path:
        WAYS[request.param](tmp_path / name, trace)
        return tmp_path / name

    return make, trace


def test_the_files_are_as_bad_as_they_look(tmp_path: Path) -> None:
    _plain(tmp_path / "evil.pt", tmp_path / "executed")
    pickle.loads((tmp_path / "evil.pt").read_bytes())
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_loading_a_predictor_runs_nothing(suffix: str, evil: tuple[Callable[[str], Path], Path]) -> None:
    make, trace = evil
    if suffix in (".onnx", ".pt2"):
        pytest.importorskip("basrelief.inference.onnx_network")
        pytest.importorskip("onnxruntime")
    path = make(f"net{suffix}")
    with pytest.raises(DataError, match=r"net"):
        load(path)
    with pytest.raises(DataError):
        br.Predictor.from_pretrained(path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_with_an_evil_file_in_place_of_a_good_one_runs_nothing(
    name: str, evil: tuple[Callable[[str], Path], Path], tmp_path: Path
) -> None:
    make, trace = evil
    folder = saved(tmp_path / "net")
    make("other").replace(folder / name)
    with pytest.raises(DataError):
        load(folder)
    assert not trace.exists()


def test_a_folder_with_evil_files_beside_the_good_ones_runs_nothing(
    evil: tuple[Callable[[str], Path], Path], tmp_path: Path
) -> None:
    make, trace = evil
    folder = saved(tmp_path / "net")
    for name in ("pytorch_model.bin", "model.pt", "modeling_basrelief.py", "__init__.py"):
        make("other").replace(folder / name)
    load(folder)
    assert not trace.exists()


def test_commands_refuse_in_one_sentence(
    evil: tuple[Callable[[str], Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, trace = evil
    data = write_folder(tmp_path / "data", 6)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    path = make("net.pt")
    for words in (
        ("predict", path, tmp_path / "photo.png", "--out", tmp_path / "out"),
        ("evaluate", path, data),
        ("train", data, "--weights", path, "--network", "masknet", "--loss", "bce(mask)", "--epochs", "1",
         "--resolution", "16", "--out", tmp_path / "run"),
    ):  # fmt: skip
        code, _, err = run_command(capsys, *words)
        assert code == 1, err
        assert "net.pt" in err
        assert not trace.exists()
    assert not (tmp_path / "out").exists()


def test_what_the_refusal_says(tmp_path: Path) -> None:
    _torch(tmp_path / "net.pt", tmp_path / "executed")
    with pytest.raises(DataError, match=r"not opened.*may hold programs.*--weights FILE"):
        load(tmp_path / "net.pt")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="holds no network that Basrelief knows"):
        load(tmp_path / "photo.jpg")


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_with_changed_bytes_are_read_or_refused_in_one_sentence(zipped: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = {"state_dict": {"a.weight": torch.ones(3, 4), "b": torch.zeros(2, dtype=torch.int64)}, "epoch": 3}
    torch.save(tensors, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    whole = np.frombuffer((tmp_path / "net.pt").read_bytes(), np.uint8)
    model = br.create_model("masknet")
    refused = 0
    for _ in range(150):
        changed = whole.copy()
        changed[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        (tmp_path / "net.pt").write_bytes(changed.tobytes())
        try:
            start_from(model, str(tmp_path / "net.pt"))
        except DataError:
            refused += 1
    assert refused == 150  # damaged, or of another network
