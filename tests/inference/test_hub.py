from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

import basrelief as br
from basrelief.errors import DataError, UsageError
from basrelief.inference import hub as hub_module
from basrelief.inference.hub import download, is_address, read_address
from basrelief.inference.load import load
from commands import run as run_command
from fake_hub import COMMIT, TOKEN, FakeHub, fake_hub, point_at
from networks import facts, make_predictor, saved

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / "cache") as made:
        yield made


def put(hub: FakeHub, name: str, folder: Path) -> None:
    hub.files[name] = {file.name: file.read_bytes() for file in saved(folder).iterdir()}


def test_a_network_pushed_and_loaded_predicts_the_same(hub: FakeHub) -> None:
    predictor = make_predictor(facts(), threshold=0.4)
    address = predictor.push_to_hub(
        "ada/nuclei", token=TOKEN, private=True, commit_message="First one", license="cc-by-4.0"
    )
    assert address.endswith(f"/ada/nuclei/commit/{COMMIT}")
    assert hub.commits[0]["summary"] == "First one"
    assert hub.created[0]["visibility"] == "private"
    assert sorted(hub.files["ada/nuclei"]) == ["README.md", "config.json", "model.safetensors"]
    card = hub.files["ada/nuclei"]["README.md"].decode()
    assert "license: cc-by-4.0" in card
    assert "basrelief predict hf://ada/nuclei photos/" in card
    again = br.Predictor.from_pretrained("ada/nuclei", device="cpu")
    assert np.array_equal(predictor(IMAGE).probability, again(IMAGE).probability)  # type: ignore[arg-type]
    assert again.thresholds == (0.4,)


def test_only_the_two_files_that_are_read_are_fetched(hub: FakeHub, tmp_path: Path) -> None:
    put(hub, "ada/net", tmp_path / "net")
    hub.files["ada/net"] |= {"evil.py": b"raise SystemExit", "pytorch_model.bin": b"cos\nsystem\n"}
    folder = download("ada/net")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_commands_take_an_address(hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    put(hub, "ada/net", tmp_path / "net")
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    code, out, err = run_command(
        capsys, "predict", "hf://ada/net", tmp_path / "photo.png", "--out", tmp_path / "out", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["note"] == f"Using ada/net of the hub, commit {COMMIT[:8]}."
    assert (tmp_path / "out" / "photo_mask.png").exists()


def test_what_was_fetched_before_serves_without_the_hub(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub, "ada/net", tmp_path / "net")
    with pytest.raises(DataError, match="local_files_only is set"):
        br.Predictor.from_pretrained("ada/net", local_files_only=True)
    br.Predictor.from_pretrained("ada/net")
    hub.asked.clear()
    br.Predictor.from_pretrained("ada/net", local_files_only=True)
    br.Predictor.from_pretrained("ada/net", revision=COMMIT, local_files_only=True)
    assert hub.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    br.Predictor.from_pretrained("ada/net")
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        br.Predictor.from_pretrained("ada/other")
    with pytest.raises(DataError, match="Nothing was pushed: HF_HUB_OFFLINE"):
        make_predictor(facts()).push_to_hub("ada/net", token=TOKEN)
    assert hub.asked == []


def test_a_hub_that_is_away_is_one_sentence_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path)  # where nobody listens
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9\) cannot be reached.*give the folder"):
        load("hf://ada/net")
    with pytest.raises(DataError, match="Nothing was pushed"):
        make_predictor(facts()).push_to_hub("ada/net", token=TOKEN)


def test_a_connection_that_breaks_is_one_sentence(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "is_reachable", lambda _address: True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="cannot be reached"):
        make_predictor(facts()).push_to_hub("ada/net", token=TOKEN)


def test_every_refusal_says_what_to_do(hub: FakeHub, tmp_path: Path) -> None:
    put(hub, "ada/net", tmp_path / "net")
    hub.private.add("ada/net")
    hub.files["ada/other"] = {"README.md": b"# other"}
    predictor = make_predictor(facts())
    loading: list[tuple[str, dict[str, Any], str]] = [
        ("ada/missing", {}, "no ada/missing, or it is private.*hf auth login"),
        ("ada/net", {}, "or it is private.*HF_TOKEN"),
        ("ada/net", {"token": TOKEN, "revision": "v9"}, "no ada/net at v9"),
        ("ada/other", {}, r"not a network of Basrelief: it has no config\.json"),
        ("ada/net/model", {}, "OWNER/NAME"),
        ("../ada", {}, "OWNER/NAME"),
        ("missing", {}, "OWNER/NAME"),
    ]
    for name, options, says in loading:
        with pytest.raises(DataError, match=says):
            br.Predictor.from_pretrained(name, **options)
    br.Predictor.from_pretrained("ada/net", token=TOKEN)
    with pytest.raises(UsageError, match="no token on this machine"):
        br.Predictor.from_pretrained("ada/net", token=True)
    with pytest.raises(UsageError, match="needs a token.*hf auth login"):
        predictor.push_to_hub("ada/new")
    with pytest.raises(DataError, match="refuses ada/new.*401"):
        predictor.push_to_hub("ada/new", token="hf_wrong")
    with pytest.raises(UsageError, match="expected OWNER/NAME"):
        predictor.push_to_hub("new", token=TOKEN)
    with pytest.raises(UsageError, match="license="):
        predictor.push_to_hub("ada/new", token=TOKEN, license="all rights: reserved")
    assert "ada/new" not in hub.files


def test_addresses_are_read_and_nothing_else_is_one() -> None:
    assert read_address("hf://ada/net") == ("ada/net", None)
    assert read_address(Path("hf://ada/net@v1.0")) == ("ada/net", "v1.0")  # pathlib makes one slash of two
    assert is_address(Path("hf://ada/net"))
    assert not is_address("runs/hf:/ada")
    assert not is_address("hf/ada")
    for text in (
        "hf://ada",
        "hf://ada/net/model",
        "hf://../net",
        "hf://ada/net@",
        "hf://ada/net@../x y",
        "hf://ada/..",
    ):
        with pytest.raises(UsageError, match="expected hf://OWNER/NAME"):
            read_address(text)


def test_a_local_folder_goes_before_a_name_on_the_hub(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "ada" / "net")
    monkeypatch.chdir(tmp_path)
    br.Predictor.from_pretrained("ada/net")
    assert hub.asked == []
