"""basrelief summary and basrelief list models: figures, plain messages, pure JSON."""

from __future__ import annotations

import json

import pytest

from commands import run


def test_a_summary_as_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(
        capsys, "summary", "resunet", "--resolution", "48x32", "--background", "--batch-size", 2, "--json"
    )
    document = json.loads(printed)
    assert code == 0
    assert document["totals"]["parameters"] == 11_234_066
    assert document["resolution"] == document["padded"] == [48, 32]
    assert document["heads"] == {"mask": 1, "depth": 1}
    assert len(document["layers"]) > 50
    assert set(document["layers"][0]) == {"name", "type", "output", "parameters", "multiply_adds", "level"}


def test_a_summary_in_the_terminal_shows_main_modules_and_all_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    code, short, _ = run(capsys, "summary", "munet(blocks=8)", "--mask-classes", 5, "--no-depth")
    assert code == 0
    assert "4,040,773 parameters in 196 tensors" in short
    assert "multiply-adds for an image" in short
    assert len(short.splitlines()) < 30
    _, full, _ = run(capsys, "summary", "munet(blocks=8)", "--mask-classes", 5, "--no-depth", "--all")
    assert len(full.splitlines()) > 100
    assert "never runs" in full


def test_depth_is_there_where_the_network_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    for name, heads in (("masknet", {"mask": 1}), ("resunet", {"mask": 1, "depth": 1})):
        _, printed, _ = run(capsys, "summary", name, "--resolution", 16, "--batch-size", 2, "--json")
        assert json.loads(printed)["heads"] == heads


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resunt"], "Did you mean 'resunet'?"),
        (["masknet(drop=1)"], "Did you mean 'dropout'?"),
        (["masknet", "--depth"], "masknet gives masks alone"),
        (["masknet", "--mask-classes", "-1"], "needs a head"),
        (["resunet", "--mask-classes", "0", "--no-depth"], "needs a head"),
        (["resunet", "--resolution", "7x"], "--resolution '7x': expected N or HEIGHTxWIDTH"),
        (["resunet", "--resolution", "4"], "--resolution 4: expected 8 or more"),
        (["resunet", "--batch-size", "0"], "--batch-size 0: expected 1 or more"),
        (["resunet", "--resolution", "16", "--batch-size", "1"], "batches of 2 or more"),
    ],
)
def test_a_mistake_ends_in_one_message(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, printed, said = run(capsys, "summary", *words)
    assert code == 2
    assert message in said
    assert not printed


def test_networks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, "list", "models", "--json")
    assert code == 0
    assert [line["parameters"] for line in json.loads(printed) if line["name"] == "dsresnet"] == [10_343_490]
    code, printed, _ = run(capsys, "list", "models")
    assert code == 0
    assert "None" not in printed
