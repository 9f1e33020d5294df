"""Depth from a teacher: tiny random networks of real families, from local folders, without a network connection."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from basrelief.composing.run import compose_data
from basrelief.data import open_source
from basrelief.data.store import open_store
from basrelief.errors import DataError, MissingExtraError, UsageError
from materials import materials

transformers = pytest.importorskip("transformers", reason="the extra 'teacher' is not installed")
torch = pytest.importorskip("torch")

from basrelief.composing.teacher import Teacher  # noqa: E402


def write_teacher(folder: Path, family: str = "dpt", metric: bool = False) -> str:
    """Write a tiny random network: "dpt" as in MiDaS, or "depth_anything"."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 32}
    neck = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
    if family == "dpt":
        config = transformers.DPTConfig(
            **shape, **neck, patch_size=16, intermediate_size=48, backbone_out_indices=[0, 1, 2, 3], is_hybrid=False
        )
        network = transformers.DPTForDepthEstimation(config)
        size = 32
    else:
        stages = [f"stage{number}" for number in range(1, 5)]
        backbone = transformers.Dinov2Config(
            **{**shape, "image_size": 28}, patch_size=14, out_features=stages, reshape_hidden_states=False
        )
        config = transformers.DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=32,
            **neck,
            head_hidden_size=8,
            patch_size=14,
            depth_estimation_type="metric" if metric else "relative",
            max_depth=20 if metric else None,
        )
        network = transformers.DepthAnythingForDepthEstimation(config)
        size = 28
    if metric:  # the last layer is random and small; make its output differ from pixel to pixel
        with torch.no_grad():
            for weight in network.head.parameters():
                weight.mul_(20)
    network.save_pretrained(folder)
    transformers.DPTImageProcessor(size={"height": size, "width": size}, do_pad=False).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def dpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "dpt")


def pictures(count: int = 3) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 40, 56, 3)).astype(np.uint8))


def test_the_kind_of_depth_is_that_of_the_family(tmp_path: Path, dpt: str) -> None:
    teacher = Teacher(dpt)
    assert (teacher.stored.kind, teacher.stored.unit, teacher.stored.invalid) == ("disparity", "", ())
    relative = Teacher(write_teacher(tmp_path / "relative", "depth_anything"))
    assert relative.stored.kind == "disparity"
    metric = Teacher(write_teacher(tmp_path / "metric", "depth_anything", metric=True))
    # 20 m in 16 bits: steps of 0.305 mm at least, so of half a millimetre.
    assert (metric.stored.kind, metric.stored.unit, metric.stored.scale) == ("metric", "m", 0.0005)
    assert metric.stored.invalid == (0,)
    assert Teacher(dpt, "relative").stored.kind == "relative"


def test_inverse_depth_fills_the_range_of_every_picture(dpt: str) -> None:
    for codes in Teacher(dpt).estimate(pictures()):
        assert (codes.dtype, codes.shape) == (np.uint16, (40, 56))
        assert (codes.min(), codes.max()) == (0, 65535)


def test_codes_are_the_networks_own_output_resized(tmp_path: Path) -> None:
    """Against the package's own pipeline, one picture at a time."""
    from PIL import Image

    name = write_teacher(tmp_path / "metric", "depth_anything", metric=True)
    pipeline = transformers.pipeline("depth-estimation", model=name, device="cpu")
    for image, codes in zip(pictures(), Teacher(name).estimate(pictures()), strict=True):
        depth = pipeline(Image.fromarray(image))["predicted_depth"].numpy()
        assert depth.std() > 0
        assert np.abs(codes * 0.0005 - depth).max() <= 0.00026 + 1e-3 * depth.max()


def test_composites_get_their_depth_from_the_teacher_in_every_layout_and_as_a_store(tmp_path: Path, dpt: str) -> None:
    options = materials(tmp_path, limit=20)
    found = []
    for layout in "abc":
        done = compose_data(options, tmp_path / layout, layout=layout, teacher=dpt, jobs=1)
        assert done["depth"]["kind"] == "disparity"
        assert "fills the range 0 to 1 anew" in " ".join(done["notes"])
        source = open_source(str(tmp_path / layout))
        assert (source.targets, source.depth_unit, source.depth_kind) == (("mask", "depth"), "", "disparity")
        assert not source.faults
        found.append(np.stack([source.load(entry).depth for entry in source.entries]))  # type: ignore[arg-type]
        assert (found[-1].min(), found[-1].max()) == (0, 1)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    direct = Teacher(dpt).estimate([source.load(entry).image for entry in source.entries[:16]])
    assert np.abs(direct[3] / 65535 - found[0][3]).max() < 1e-4
    compose_data(options, tmp_path / "store", packed=True, teacher=dpt, jobs=1)
    store = open_store(tmp_path / "store")
    stored = np.stack([store.sample(number).depth for number in range(len(found[0]))])  # type: ignore[misc]
    assert np.abs(stored - found[0]).max() < 1e-4
    assert store.facts.depth_kind == "disparity"
    assert not list(tmp_path.glob(".store*")), "the files in between are removed"


def test_taught_depth_is_the_same_after_an_interruption(tmp_path: Path, dpt: str) -> None:
    options, out = materials(tmp_path), tmp_path / "out"
    compose_data(options, out, teacher=dpt, jobs=1)
    files = {path: path.read_bytes() for path in sorted((out / "bg_fg_depth_map").iterdir())}
    for path in list(files)[3::5]:
        path.unlink()
    compose_data(options, out, teacher=dpt, jobs=1)
    assert {path: path.read_bytes() for path in files} == files


def test_without_the_package_the_extra_is_named(dpt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "transformers" else find(name, *a))
    with pytest.raises(MissingExtraError, match=r"basrelief\[teacher\]"):
        Teacher(dpt)


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such", "./none"])
def test_a_folder_that_is_not_there_is_told_at_once(name: str) -> None:
    with pytest.raises(DataError, match=rf"--teacher {name}: cannot be loaded.*Check the name"):
        Teacher(name)


def test_a_hub_name_without_a_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no connection")

    monkeypatch.setattr(huggingface_hub, "model_info", offline)
    with pytest.raises(DataError, match=r"--teacher nobody/nothing-here: cannot be loaded \(no connection\)"):
        Teacher("nobody/nothing-here")


def test_another_kind_of_network_broken_weights_and_unknown_families_are_refused(tmp_path: Path, dpt: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        Teacher(str(tmp_path / "empty"))
    broken = Path(write_teacher(tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"short")
    with pytest.raises(DataError, match="cannot be loaded"):
        Teacher(str(broken))
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be loaded"):
        Teacher(str(broken))
    config = json.loads((Path(dpt) / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(DataError, match="cannot be loaded"):
        Teacher(str(broken))


def test_an_unknown_family_asks_for_the_kind() -> None:
    from basrelief.composing.teacher import _kind_of

    with pytest.raises(UsageError, match=r"'new_net'.*--depth-kind"):
        _kind_of(type("Config", (), {"model_type": "new_net"})(), "x")
