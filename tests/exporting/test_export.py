"""Exporting runs: the files do what the runs do, from any program, and hold nothing that they should not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import basrelief as br
from basrelief.cli_share import _say_cost
from basrelief.errors import DataError, MissingExtraError, OutputError, UsageError
from basrelief.exporting import export as exporting
from basrelief.exporting.whole_graph import WholeNetwork
from basrelief.inference.facts import carried
from commands import run as command
from support import write_folder

SIZES = [(24, 32), (1, 1), (7, 130), (300, 260)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: with mask, depth and background; and with a mask alone."""
    root = tmp_path_factory.mktemp("export")
    br.train(
        "scenes:24", out=root / "scenes", loss="bce(mask) + rmse(depth)", network="relief(width=8)", resolution=32,
        epochs=1,
    )  # fmt: skip
    data = write_folder(root / "discs")
    br.train(data, out=root / "masks", loss="bce", network="masknet", resolution=(16, 24), epochs=2, lr=3e-3)
    return root


@pytest.fixture(scope="module")
def exported(folder: Path) -> dict[str, Any]:
    return br.export(folder / "scenes", out=folder / "scenes.onnx", int8=True)


@pytest.fixture(scope="module")
def mask_file(folder: Path) -> dict[str, Any]:
    return br.export(folder / "masks", out=folder / "masks.onnx")


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_the_document_says_what_was_written_and_compared(folder: Path, exported: dict[str, Any]) -> None:
    assert exported["file"] == str(folder / "scenes.onnx")
    assert exported["opset"] == 18
    assert exported["bytes"] == (folder / "scenes.onnx").stat().st_size
    parity = exported["parity"]
    assert 0 <= parity["mask"] < 1e-5
    assert 0 <= parity["depth"] < 1e-5
    assert parity["images"] > 2
    assert "validation" in parity["on"]
    small = exported["int8"]
    assert small["bytes"] == (folder / "scenes.int8.onnx").stat().st_size < exported["bytes"]
    assert small["metric"] == "mask/iou"
    assert small["cost"] == pytest.approx(small["fp32"] - small["int8"])
    json.dumps(exported, allow_nan=False)


@pytest.mark.parametrize("size", SIZES)
def test_the_file_takes_any_size_and_agrees_with_the_run(
    folder: Path, exported: dict[str, Any], size: tuple[int, int]
) -> None:
    image, background = picture(size), picture((50, 41), 1)
    wanted = br.load_predictor(folder / "scenes", tile="none")(image, background)
    session = onnxruntime.InferenceSession(exported["file"])
    mask, depth = session.run(["mask", "depth"], {"image": image[None], "background": background[None]})
    assert mask.shape == depth.shape == (1, 1, *size)
    assert mask.dtype == depth.dtype == np.float32
    assert np.abs(mask[0, 0] - wanted.probability).max() < 1e-5
    assert np.abs(depth[0, 0] - wanted.depth).max() < 1e-4


def test_several_images_at_once_are_each_as_alone(mask_file: dict[str, Any]) -> None:
    session = onnxruntime.InferenceSession(mask_file["file"])
    images = np.stack([picture((30, 40), seed) for seed in range(3)])
    together = session.run(None, {"image": images})[0]
    for image, values in zip(images, together, strict=True):
        assert np.allclose(session.run(None, {"image": image[None]})[0][0], values, atol=1e-6)


def test_predict_takes_the_file_as_it_takes_the_run(folder: Path, exported: dict[str, Any]) -> None:
    file, run = br.load_predictor(exported["file"]), br.load_predictor(folder / "scenes")
    image, background = picture((77, 51)), picture((77, 51), 1)
    a, b = file(image, background), run(image, background)
    assert np.allclose(a.probability, b.probability, atol=1e-5)  # type: ignore[arg-type]
    assert np.allclose(a.depth, b.depth, atol=1e-4)  # type: ignore[arg-type]
    assert (a.classes, a.depth_unit, a.depth_kind) == (b.classes, b.depth_unit, b.depth_kind)
    assert file.run == {**file.run, **json.loads(json.dumps(carried(run.run)))}


def test_the_small_file_is_used_as_well(folder: Path, exported: dict[str, Any]) -> None:
    small = br.load_predictor(exported["int8"]["file"])
    result = small(picture((40, 50)), picture((40, 50), 1))
    assert result.probability is not None
    assert result.probability.shape == (40, 50)
    model = onnx.load(exported["int8"]["file"])
    around = [node.name for node in model.graph.node if node.name.startswith("around") and "Quantize" in node.op_type]
    assert not around
    assert any(tensor.data_type == onnx.TensorProto.INT8 for tensor in model.graph.initializer)
    assert [opset.domain for opset in model.opset_import] == [""]  # nothing that another program may lack


def test_metadata_carries_the_run_and_nothing_of_the_machine(folder: Path, exported: dict[str, Any]) -> None:
    model = onnx.load(exported["file"])
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    run = json.loads((folder / "scenes" / "run.json").read_text())
    assert json.loads(metadata["basrelief"]) == carried(run)
    assert json.loads(metadata["classes"]) == run["classes"]
    assert [size.dim_param for size in model.graph.input[1].type.tensor_type.shape.dim][:3] == [
        "batch", "background_height", "background_width",
    ]  # fmt: skip
    for file in (exported["file"], exported["int8"]["file"]):
        content = Path(file).read_bytes()
        assert str(folder).encode() not in content
        assert str(Path(br.__file__).parent).encode() not in content
        assert b"stack_trace" not in content


def test_a_torch_program_opens_without_basrelief(folder: Path) -> None:
    result = br.export(folder / "masks", "torch", out=folder / "masks.pt2")
    assert result["parity"]["mask"] < 1e-5
    code = (
        "import sys, json, torch\n"
        "facts = {'basrelief.json': ''}\n"
        f"program = torch.export.load({result['file']!r}, extra_files=facts)\n"
        "given = program.module()(image=torch.zeros(2, 50, 70, 3, dtype=torch.uint8))\n"
        "assert not any(name.startswith('basrelief') for name in sys.modules)\n"
        "print(json.dumps([list(given['mask'].shape), json.loads(facts['basrelief.json'])['network']]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[2, 1, 50, 70], "masknet"]
    assert str(Path(br.__file__).parent).encode() not in Path(result["file"]).read_bytes()
    with pytest.raises(DataError, match="opens none"):
        br.load_predictor(result["file"])


def test_safetensors_are_written_and_loaded_again(folder: Path) -> None:
    result = br.export(folder / "masks", "safetensors", out=folder / "masks.safetensors")
    assert result["parity"]["mask"] < 1e-5
    image = picture((20, 30))
    a, b = br.load_predictor(result["file"])(image), br.load_predictor(folder / "masks")(image)
    assert np.array_equal(a.probability, b.probability)  # type: ignore[arg-type]


def test_a_saved_network_is_exported_as_its_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    br.load_predictor(folder / "masks", threshold=0.25).save_pretrained("saved", license="cc0-1.0")
    result = br.export("saved", "safetensors")
    assert result["file"] == "saved.safetensors"
    assert "generated scenes" in result["parity"]["on"]
    assert result["parity"]["images"] == 16 + 2
    again = br.load_predictor("saved.safetensors")
    assert again.thresholds == (0.25,)
    again.save_pretrained("again")
    assert Path("again/config.json").read_bytes() == Path("saved/config.json").read_bytes()
    judged = br.export("saved.safetensors", "torch", out="b.pt2", data=folder / "discs")
    assert judged["parity"]["mask"] < 1e-5
    monkeypatch.chdir(tmp_path / "saved")
    assert br.export(".", "safetensors")["file"] == "saved.safetensors"


def test_a_file_that_differs_from_the_run_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(WholeNetwork):
        def forward(self, image: torch.Tensor, background: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            return {"mask": super().forward(image, background)["mask"] * 0.99}

    monkeypatch.setattr(exporting, "WholeNetwork", Wrong)
    with pytest.raises(OutputError, match=r"differs from the run by .* nothing was written"):
        br.export(folder / "masks", "safetensors", out=tmp_path / "wrong.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_other_images_and_those_that_are_gone(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "masks", tmp_path / "run")
    elsewhere = br.export(
        tmp_path / "run", "safetensors", out=tmp_path / "a.safetensors", data=write_folder(tmp_path / "more", 3)
    )
    assert elsewhere["parity"]["images"] == 3 + 2
    shutil.rmtree(tmp_path / "run" / "data")
    gone = br.export(tmp_path / "run", "safetensors", out=tmp_path / "b.safetensors")
    assert "gone" in gone["parity"]["on"]


def test_wrong_words_are_named(folder: Path, tmp_path: Path, exported: dict[str, Any]) -> None:
    run = folder / "masks"
    for given, message in [
        ({"to": "onx"}, "Did you mean 'onnx'"),
        ({"to": "torch", "opset": 18}, "--opset belongs"),
        ({"to": "safetensors", "int8": True}, "--int8 belongs"),
        ({"opset": 11}, "expected 18 to"),
        ({"out": tmp_path / "net.pt"}, "ends in .onnx"),
    ]:
        with pytest.raises(UsageError, match=message):
            br.export(run, **given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="exported already"):
        br.export(exported["file"])
    br.load_predictor(run).save_pretrained(tmp_path / "saved")
    with pytest.raises(UsageError, match="--int8 needs the directory of a run"):
        br.export(tmp_path / "saved", out=tmp_path / "saved.onnx", int8=True)
    with pytest.raises(OutputError, match="--overwrite"):
        br.export(folder / "scenes", out=exported["file"])
    with pytest.raises(DataError, match="not there"):
        br.export(tmp_path / "none", "torch")


def test_a_missing_package_names_its_extra(
    folder: Path, tmp_path: Path, exported: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r'pip install "basrelief\[export\]"'):
        br.export(folder / "masks", out=tmp_path / "a.onnx")
    with pytest.raises(MissingExtraError, match=r'pip install "basrelief\[export\]"'):
        br.load_predictor(exported["file"])


def test_the_command_writes_beside_you_and_says_how_far_off_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = command(capsys, "export", folder / "masks", "--to", "safetensors")
    assert code == 0
    assert "Largest difference to the run" in out
    assert (tmp_path / "masks.safetensors").exists()
    code, out, _ = command(capsys, "export", folder / "masks", "--to", "safetensors", "--json")
    assert code == 1
    assert "--overwrite" in json.loads(out)["error"]
    code, out, _ = command(capsys, "export", folder / "masks", "--to", "safetensors", "--overwrite", "--json")
    assert code == 0
    assert json.loads(out)["to"] == "safetensors"


def test_the_command_predicts_with_the_file(
    folder: Path, mask_file: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, source in (("a", mask_file["file"]), ("b", folder / "masks")):
        code, _, err = command(capsys, "predict", source, folder / "discs" / "images", "--out", tmp_path / name)
        assert code == 0, err
    for file in (tmp_path / "a").glob("*.png"):
        a, b = (np.asarray(Image.open(tmp_path / name / file.name)) for name in "ab")
        assert (a != b).mean() < 0.01  # a pixel at 0.5 may fall either way


def test_thirty_lines_without_basrelief_or_torch_use_the_file(
    folder: Path, exported: dict[str, Any], mask_file: dict[str, Any], tmp_path: Path
) -> None:
    """The example, in a process of its own where neither may be imported."""
    Image.fromarray(picture((60, 80), 1)).save(tmp_path / "room.png")
    Image.fromarray(picture((70, 90))).save(tmp_path / "photo.png")
    code = (
        "import runpy, sys\n"
        "sys.modules.update(dict.fromkeys(('basrelief', 'torch', 'onnx', 'scipy')))\n"
        "sys.argv[:] = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = Path(__file__).parents[2] / "examples" / "onnx_consumer.py"
    assert len(script.read_text().splitlines()) <= 30
    for file, more, wanted in (
        (exported["file"], [tmp_path / "room.png"], {"depth.npy", "mask_0.png"}),
        (mask_file["file"], [], {"mask_0.png"}),
    ):
        out = tmp_path / Path(file).stem
        words = [sys.executable, "-c", code, script, file, tmp_path / "photo.png", out, *more]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert {made.name for made in out.iterdir()} == wanted
        assert done.stdout == "mask_0.png: figure\n"
    assert np.load(tmp_path / "scenes" / "depth.npy").shape == (70, 90)
    run = br.load_predictor(folder / "masks", tile="none")
    mask = np.asarray(Image.open(tmp_path / "masks" / "mask_0.png")) > 0
    assert (mask != run(picture((70, 90))).mask).mean() < 0.01  # a pixel at 0.5 may fall either way


@pytest.mark.parametrize(
    ("metric", "fp32", "int8", "cost", "says"),
    [
        ("mask/iou", 0.7, 0.6, 0.1, "worse by 0.1000"),
        ("depth/rmse", 0.4, 0.3, -0.1, "better by 0.1000"),
        ("mask/iou", 0.7, 0.7, 0.0, "the same"),
        ("mask/iou", 0.0, 0.0, 0.0, "says nothing"),
        ("depth/rmse", 0.0, 0.0, 0.0, "the same"),
    ],
)
def test_the_cost_of_whole_numbers_is_told_in_words(
    metric: str, fp32: float, int8: float, cost: float, says: str
) -> None:
    assert says in _say_cost({"metric": metric, "fp32": fp32, "int8": int8, "cost": cost})
