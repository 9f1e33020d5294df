from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import basrelief as br
from basrelief.errors import DataError, UsageError
from basrelief.inference.check_facts import check_carried
from basrelief.inference.facts import carried
from basrelief.inference.load import load
from networks import facts
from support import write_folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ensemble")
    data = write_folder(root / "data", 15)
    br.study(
        data, out=root / "study", losses=("bce", "dice"), seeds=2, folds=3, network="masknet", resolution=16, epochs=1,
        lr=3e-3, precision="fp32",
    )  # fmt: skip
    return root / "study"


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def change(folder: Path, **facts: object) -> None:
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(document | facts))


def test_an_ensemble_is_the_mean_of_all_seeds_and_folds_of_the_chosen_loss(study: Path) -> None:
    single, together = load(study), load(study, ensemble=True)
    members = sorted(single.source.parent.iterdir())
    assert len(members) == 6
    expected = np.mean([br.load_predictor(member)(picture()).probability for member in members], axis=0)
    found = together.predictor(picture()).probability
    assert np.allclose(found, expected, atol=1e-6)
    assert not np.allclose(found, single.predictor(picture()).probability, atol=1e-4)
    assert together.note.startswith("Averaging 6 networks of ")
    assert all(member.name in together.note for member in members)
    assert together.source == together.home == study.resolve()
    assert together.predictor.run["ensemble"][0] == single.source.name
    assert together.predictor.run["split"] is None  # each fold has another: no image is a test image of all
    mirrored = br.load_predictor(study, ensemble=True, mirror=True)(picture()).probability
    other = together.predictor(picture()[:, ::-1]).probability
    assert np.allclose(mirrored, (found + other[:, ::-1]) / 2, atol=1e-6)  # type: ignore[index]


def test_the_best_threshold_of_an_ensemble_is_the_mean_of_its_seeds(study: Path) -> None:
    members = sorted(load(study).source.parent.iterdir())
    try:
        for number, member in enumerate(members):
            change(member, thresholds={"best": [0.2 + 0.1 * number], "score": [0.5], "at_half": [0.4]})
        assert load(study, ensemble=True, threshold="best").predictor.thresholds == pytest.approx((0.45,))
        change(members[0], thresholds=None)
        with pytest.raises(UsageError, match="--threshold best"):
            load(study, ensemble=True, threshold="best")
    finally:
        for member in members:
            change(member, thresholds=None)


def test_networks_that_say_other_things_are_not_averaged(study: Path) -> None:
    member = sorted(load(study).source.parent.iterdir())[0]
    resolution = json.loads((member / "run.json").read_text())["resolution"]
    try:
        change(member, resolution=[32, 32])
        with pytest.raises(DataError, match="differ in their resolution"):
            load(study, ensemble=True)
    finally:
        change(member, resolution=resolution)


def test_a_single_run_and_a_trial_have_nothing_to_average(study: Path, tmp_path: Path) -> None:
    trial = load(study).source
    with pytest.raises(UsageError, match="one of its trials") as refused:
        load(trial, ensemble=True)
    assert str(study.resolve()) in str(refused.value)
    data = write_folder(tmp_path / "data")
    br.train(data, out=tmp_path / "run", loss="bce", network="masknet", resolution=16, epochs=1)
    with pytest.raises(UsageError, match="single run"):
        load(tmp_path / "run", ensemble=True)
    br.study(data, out=tmp_path / "one", losses=("bce", "dice"), seeds=1, network="masknet", resolution=16, epochs=1)
    with pytest.raises(UsageError, match="nothing to average"):
        load(tmp_path / "one", ensemble=True)
    with pytest.raises(DataError, match="is not there"):
        load(tmp_path / "nowhere", ensemble=True)


GONE = object()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network", None), ("network", GONE), ("background", GONE), ("background", "maybe"), ("targets", [[]]),
        ("resolution", [16]), ("activations", {"mask": 3}), ("metrics", 0), ("samples", {"val": ["a", 1]}),
        ("settings", 0), ("settings", GONE), ("versions", []), ("depth_max", "far"),
    ],
)  # fmt: skip
def test_a_damaged_document_of_a_run_is_named_with_its_key(
    study: Path, tmp_path: Path, key: str, value: object
) -> None:
    """Found by 700 damaged files: the network was built from the document as it stood, which ended in a traceback."""
    run = tmp_path / "run"
    shutil.copytree(load(study).source, run)
    document = json.loads((run / "run.json").read_text())
    if value is GONE:
        del document[key]
    else:
        document[key] = value
    (run / "run.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=rf"run\.json.*{key}"):
        load(run)


def test_a_network_of_depth_alone_is_loaded_and_carried_where_the_data_has_masks_too() -> None:
    """Its run names the classes of the data, which no head of it gives: an export of it was refused."""
    run = {
        "network": "masknet", "resolution": [16, 16], "classes": ["mask"], "activations": {"depth": "identity"},
        "targets": ["depth"], "heads": ["depth"], "background": False, "depth_max": 1.0,
        "settings": {"metric": "depth/rmse", "mask_values": None},
    }  # fmt: skip
    assert check_carried(carried(run), "test")["classes"] == []
    assert carried(run | {"heads": ["mask", "depth"]})["classes"] == ["mask"]


def test_a_key_of_control_letters_is_spelt_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"samples\.\\x00"):
        check_carried(carried({"settings": {}, **facts(), "samples": {"train": 1, "\0": None}}), tmp_path / "run.json")
