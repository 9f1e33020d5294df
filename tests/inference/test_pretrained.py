from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import basrelief as br
from basrelief.engine.weights import start_from
from basrelief.errors import DataError, MissingExtraError, OutputError, UsageError
from basrelief.inference import pretrained
from basrelief.inference.load import load
from basrelief.inference.predictor import Predictor
from basrelief.inference.pretrained import load_folder, load_safetensors, save_safetensors
from networks import KINDS, facts, make_predictor, saved
from support import write_folder

IMAGES = [np.random.default_rng(k).integers(0, 256, (20 + k, 31, 3), dtype=np.uint8) for k in range(2)]


def same_predictions(a: Predictor, b: Predictor) -> None:
    for image in IMAGES:
        back = IMAGES[0] if a.takes_background else None
        one, two = a(image, back), b(image, back)
        for name in ("probability", "depth", "mask"):
            x, y = getattr(one, name), getattr(two, name)
            assert (x is None) == (y is None)
            assert x is None or np.array_equal(x, y)
        assert (one.classes, one.depth_unit, one.depth_kind) == (two.classes, two.depth_unit, two.depth_kind)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    data = write_folder(root / "data", depths=True)
    br.train(
        data, out=root / "run", loss="bce(mask) + rmse(depth)", network="relief(width=8)", resolution=(16, 32),
        epochs=1, depth_scale=0.001,
    )  # fmt: skip
    return root / "run"


def test_a_run_saved_and_loaded_predicts_the_same(run: Path, tmp_path: Path) -> None:
    predictor = br.load_predictor(run)
    predictor.save_pretrained(tmp_path / "saved")
    again = br.Predictor.from_pretrained(tmp_path / "saved")
    same_predictions(predictor, again)
    same_predictions(predictor, br.load_predictor(tmp_path / "saved"))
    same_predictions(predictor, br.load_predictor(tmp_path / "saved" / "model.safetensors"))
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_comes_back_as_it_was(kind: str, tmp_path: Path) -> None:
    try:  # the run's network names pretrained weights where it has any: they must not be asked for
        predictor = make_predictor(facts(**KINDS[kind]))
    except MissingExtraError:
        pytest.skip("segmentation_models_pytorch is not installed")
    predictor.save_pretrained(tmp_path)
    same_predictions(predictor, br.Predictor.from_pretrained(tmp_path))


def test_what_was_saved_again_is_the_same_to_the_byte(run: Path, tmp_path: Path) -> None:
    br.load_predictor(run).save_pretrained(tmp_path / "a" / "net", license="cc0-1.0")
    br.Predictor.from_pretrained(tmp_path / "a" / "net").save_pretrained(tmp_path / "b" / "net", license="cc0-1.0")
    for file in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "a" / "net" / file).read_bytes() == (tmp_path / "b" / "net" / file).read_bytes()


def test_nothing_saved_names_a_place_on_this_machine(run: Path, tmp_path: Path) -> None:
    br.load_predictor(run).save_pretrained(tmp_path / "saved")
    for file in (tmp_path / "saved").iterdir():
        assert str(run.parent).encode() not in file.read_bytes()


def test_threshold_tile_and_mirror_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    make_predictor(facts(), threshold=0.25).save_pretrained(tmp_path)
    assert br.Predictor.from_pretrained(tmp_path).thresholds == (0.25,)
    assert br.load_predictor(tmp_path).thresholds == (0.25,)
    assert br.load_predictor(tmp_path, threshold=0.5).thresholds == (0.5,)
    assert json.loads((tmp_path / "config.json").read_text())["inference"] == {
        "threshold": 0.25, "tile": "auto", "mirror": False,
    }  # fmt: skip
    other = br.load_predictor(tmp_path, threshold=0.75)
    other.save_pretrained(tmp_path / "other")
    assert br.load_predictor(tmp_path / "other").thresholds == (0.75,)


def test_the_best_thresholds_travel_with_the_network(tmp_path: Path) -> None:
    run = facts(classes=["a", "b"], thresholds={"best": [0.3, 0.6], "score": [0.5, None], "at_half": [0.4, None]})
    make_predictor(run, threshold="best").save_pretrained(tmp_path)
    assert br.load_predictor(tmp_path).thresholds == (0.3, 0.6)


def test_files_that_are_there_stay_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    with pytest.raises(OutputError, match=r"README\.md already.*overwrite=True"):
        make_predictor(facts()).save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    make_predictor(facts()).save_pretrained(tmp_path, overwrite=True)
    assert (tmp_path / "README.md").read_text() != "mine"
    assert (tmp_path / "notes.txt").read_text() == "mine too"


def test_a_predictor_of_no_single_network_says_why_it_cannot_be_saved(tmp_path: Path) -> None:
    predictor = make_predictor(facts())
    predictor.trained = None
    with pytest.raises(UsageError, match="exported file.*several"):
        predictor.save_pretrained(tmp_path)


def test_training_starts_from_a_saved_network(run: Path, tmp_path: Path) -> None:
    br.load_predictor(run).save_pretrained(tmp_path / "saved")
    for start in (tmp_path / "saved", tmp_path / "saved" / "model.safetensors"):
        torch.manual_seed(9)
        model = br.create_model("relief(width=8)", depth=True)
        assert start_from(model, str(start)) == ""
        for name, value in load_file(tmp_path / "saved" / "model.safetensors").items():
            assert torch.equal(model.state_dict()[name], value)


# What follows is about files from strangers.


def change(folder: Path, **changes: Any) -> Path:
    document = json.loads((folder / "config.json").read_text())
    for name, value in changes.items():
        document[name] = value
        if value is ...:
            del document[name]
    (folder / "config.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"basrelief": ...}, "lacks the key 'basrelief'"),
        ({"basrelief": 2}, "newer Basrelief.*pip install --upgrade"),
        ({"basrelief": "1"}, "lacks the key"),
        ({"network": ...}, "network"),
        ({"network": "othernet"}, "othernet"),
        ({"network": "masknet(dropout=[[["}, "masknet"),
        ({"network": "__import__('os').system('true')"}, "cannot be built"),
        ({"network": "relief(width=8)"}, "does not fit"),
        ({"network": 5}, "network"),
        ({"resolution": [16]}, "resolution"),
        ({"resolution": [100_000, 100_000]}, "pixels"),
        ({"resolution": [-1, 16]}, "resolution"),
        ({"classes": ["a", "b"]}, "does not fit"),
        ({"classes": []}, "classes"),
        ({"classes": ["../../etc/passwd"]}, "way out of a folder"),
        ({"classes": ["a\nb"]}, "classes"),
        ({"classes": ["x"] * 5000}, "classes"),
        ({"activations": {"mask": "eval"}}, "activations"),
        ({"targets": ["depth"]}, "targets"),
        ({"heads": ["mask", "depth"], "targets": ["mask", "depth"]}, "depth_max"),
        ({"heads": ["mask", "depth"], "targets": ["mask"]}, "masknet gives masks alone"),
        ({"settings": {}}, r"settings\.metric"),
        ({"settings": {"metric": "mask/iou", "mask_values": [0]}}, "mask_values"),
        ({"thresholds": {"best": []}}, "thresholds"),
        ({"thresholds": {"best": [7]}}, "thresholds"),
        ({"inference": {"threshold": -1}}, "threshold"),
        ({"origin": {"verdict": {"summary": ["x"]}}}, "verdict"),
        ({"metrics": {"mask/iou": "high"}}, "metrics"),
    ],
)
def test_a_description_that_fits_nothing_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        load(change(saved(tmp_path / "net"), **changes))


@pytest.mark.parametrize(
    "network",
    [
        "munet(blocks=80000000)",
        "relief(width=8000000)",
        "relief(width=800000000000000000000)",
        "relief(width=8.5)",
        "smp/unet:resnet18(decoder_channels=(9999999,9999999,99,9,9))",
        "smp/unet:resnet18(depth=100000)",
        "smp/nothing:resnet18",
        "smp/unet:../../x",
    ],
)
def test_a_network_of_gigantic_size_is_never_built(network: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, MissingExtraError)):
        load_folder(change(saved(tmp_path / "net"), network=network))


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_a_gigantic_network_is_stopped_wherever_it_is_and_leaves_no_trace(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = change(saved(tmp_path / "net"), network="munet(blocks=80000)")
    monkeypatch.setattr(pretrained, "CALLS_A_TENSOR", steps / 100)
    with pytest.raises(DataError, match="far more layers than the file has tensors"):
        load_folder(folder)
    assert torch.is_grad_enabled()
    assert torch.zeros(1).device.type == "cpu"
    with torch.no_grad(), pytest.raises(DataError):
        load_folder(folder)
    assert torch.is_grad_enabled()


def test_a_bomb_of_json_is_not_read(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net")
    with (folder / "config.json").open("r+b") as file:
        file.truncate(2**30)  # a sparse file, of zeros
    with pytest.raises(DataError, match="bytes, and at most"):
        load_folder(folder)
    (folder / "config.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_folder(folder)
    (folder / "config.json").write_text('{"basrelief": ' + "9" * 10_000 + "}")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"", "ends inside"),
        (struct.pack("<Q", 2**63), "ends inside"),
        (struct.pack("<Q", 2**20) + b"{}", "ends inside"),
        (struct.pack("<Q", 2) + b"[]", "damaged"),
        (struct.pack("<Q", 4) + b"null", "damaged"),
        (struct.pack("<Q", 17) + b'{"a":{"shape":3}}', "damaged"),
        (struct.pack("<Q", 20) + b'{"__metadata__": 5 }', "damaged"),
        (b"PK\x03\x04 this is a zip", "ends inside"),
    ],
)
def test_a_header_that_is_none_is_one_sentence(start: bytes, says: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "net")
    (folder / "model.safetensors").write_bytes(start)
    for place in (folder, folder / "model.safetensors"):
        with pytest.raises(DataError, match=says):
            load(place)


def test_a_header_of_a_hundred_megabytes_is_not_read(tmp_path: Path) -> None:
    file = saved(tmp_path / "net") / "model.safetensors"
    with file.open("r+b") as opened:
        opened.write(struct.pack("<Q", 100_000_000))
        opened.truncate(200_000_000)
    with pytest.raises(DataError, match="more than any network of ours needs"):
        load_safetensors(file)


def test_a_header_of_countless_tensors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "net")
    monkeypatch.setattr(pretrained, "MOST_TENSORS", 10)
    with pytest.raises(DataError, match="tensors, more than any"):
        load_folder(folder)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 0.999), flip=st.integers(0, 2**16))
def test_a_file_cut_short_or_changed_gives_a_network_or_one_sentence(
    share: float, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = saved(tmp_path_factory.mktemp("cut") / "net")
    whole = bytearray((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_folder(folder)
    whole[flip % 4000] ^= 1 + flip % 255
    (folder / "model.safetensors").write_bytes(whole)
    for place in (folder, folder / "model.safetensors"):
        try:
            load(place)
        except DataError:
            pass


def test_tensors_that_are_missing_or_wrong_are_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net")
    tensors = load_file(folder / "model.safetensors")
    for name, value in {
        "fuse.weight": None,
        "fuse.bias": torch.zeros(7),
        "mask_head.bias": torch.zeros(1, dtype=torch.int64),
        "extra": torch.zeros(1),
        "mask_head.weight": torch.full_like(tensors["mask_head.weight"], float("nan")),
        "fuse.weight ": torch.zeros(2**20),
    }.items():
        changed = {k: v for k, v in {**tensors, name: value}.items() if v is not None}
        save_file(changed, folder / "model.safetensors")
        with pytest.raises(DataError, match=name.strip()):
            load_folder(folder)


def test_lower_precision_is_read_as_it_is(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net")
    tensors = load_file(folder / "model.safetensors")
    half = {name: value.bfloat16() if value.is_floating_point() else value for name, value in tensors.items()}
    save_file(half, folder / "model.safetensors")
    _, model = load_folder(folder)
    assert all(value.dtype == torch.float32 for value in model.parameters())


def test_a_file_of_other_tensors_says_what_it_lacks(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="does not say which network.*--weights"):
        load(tmp_path / "other.safetensors")


def test_a_single_file_carries_all(tmp_path: Path) -> None:
    predictor = make_predictor(facts())
    assert predictor.trained is not None
    save_safetensors(predictor.run, predictor.trained.model, tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors")
    assert loaded.home is None
    same_predictions(predictor, loaded.predictor)
    with pytest.raises(UsageError, match="--ensemble needs"):
        load(tmp_path / "net.safetensors", ensemble=True)


def test_a_checkpoint_of_a_run_names_the_directory_to_give(run: Path) -> None:
    with pytest.raises(DataError, match="give that directory"):
        load(run / "best.safetensors")


def test_a_folder_with_half_of_it_names_the_other(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no model\.safetensors"):
        load(folder)


def test_no_run_that_could_not_be_loaded_again_is_saved(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="classes"):
        make_predictor(facts(classes=["a\x00b"])).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
