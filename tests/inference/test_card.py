from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import markdown
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import basrelief as br
from basrelief.errors import UsageError
from basrelief.files import write_json
from basrelief.inference.card import find_limits, plain, write_card
from basrelief.inference.check_facts import check_carried
from basrelief.inference.facts import carried
from basrelief.inference.origin import find_origin
from networks import KINDS, facts, saved
from support import write_folder

ORIGIN: dict[str, Any] = {
    "data": {"format": "folder", "split": "group", "groups": 9, "cautions": []},
    "training": {"epochs": 4, "best_epoch": 2, "batch_size": 16, "lr": 0.003, "start": "fresh weights"},
    "verdict": None,
    "intervals": {"mask/iou": {"mean": 0.5, "low": 0.41, "high": 0.59, "images": 15, "groups": None}},
}


def config(origin: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return check_carried({**carried(facts(**changes)), "origin": {**ORIGIN, **(origin or {})}}, "test")


def front(card: str) -> dict[str, Any]:
    found = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def to_html(card: str) -> str:
    return markdown.markdown(card.split("---\n", 2)[2], extensions=["tables", "fenced_code"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_has_a_card_that_the_hub_understands(kind: str) -> None:
    card = write_card(config(**KINDS[kind]), "ada/net", license="mit")
    head = front(card)
    assert head["library_name"] == "basrelief"
    assert head["license"] == "mit"
    assert head["pipeline_tag"] == ("depth-estimation" if kind == "depth" else "image-segmentation")
    from huggingface_hub import ModelCard

    assert ModelCard(card).data.library_name == "basrelief"
    page = to_html(card)
    assert page.count("<h1>") == 1
    assert page.count("<table>") >= 2
    assert "|" not in re.sub("<code>.*?</code>", "", page)  # no table that came out as text


def test_the_code_of_a_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / 'it\'s "mine"', **KINDS["background"])
    code = re.search("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code
    for name in ("photo.jpg", "empty.jpg"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(code[1], scope)
    assert scope["result"].mask.shape == (10, 20)


def test_what_the_run_says_stands_in_the_card() -> None:
    card = write_card(config(image_size=[480, 640], parameters=57761), "ada/net")
    for fact in (
        "70 train, 15 val, 15 test", "24 × 16 px", "640 × 480 px (median)", "| Groups | 9 |", "`bce(mask)`", "57,761",
        "| `mask/iou` | 0.5 | 0.41 to 0.59 | higher |", "after epoch 2", "None is stated",
    ):  # fmt: skip
        assert fact in card
    assert "license" not in front(card)
    assert "depth" not in card.replace("depth/", "")


@pytest.mark.parametrize(
    ("stand", "says"), [("won", "the winner's"), ("lost", "not the winner's"), ("open", "none has")]
)
def test_a_verdict_is_told_with_its_warnings_and_where_this_network_stands(stand: str, says: str) -> None:
    verdict = {
        "summary": "dice is ahead by 0.1 (95 % interval 0.05 to 0.15).",
        "stand": stand,
        "warnings": ["3 seeds."],
    }
    card = write_card(config({"verdict": verdict}), "ada/net")
    assert verdict["summary"] in card
    assert "- 3 seeds." in card
    assert says in card
    assert "no study stands behind it" not in card


def test_limits_follow_from_the_facts() -> None:
    def said(origin: dict[str, Any] | None = None, **changes: Any) -> str:
        return " ".join(find_limits(config(origin, **changes)))

    assert "only 70 images" in said()
    assert "only" not in said(samples={"train": 5000, "val": 500, "test": 500})
    assert "No image was kept for testing" in said(samples={"train": 5000, "val": 500, "test": 0})
    assert "one group" in said({"data": {"groups": 1}})
    assert "flattered" in said({"data": {"cautions": ["2 groups stand in more than one split: scores are flattered."]}})
    assert "drawn by a program" in said({"data": {"format": "scenes"}})
    assert "empty background" in said(background=True)
    assert "20.0 times as large" in said(image_size=[320, 480])
    depth = KINDS["depth"]
    assert "up to 8 m" in said(**depth)
    assert "no distance follows" in said(**{**depth, "depth_kind": "relative", "depth_unit": None})
    assert "larger is nearer" in said(**{**depth, "depth_kind": "disparity", "depth_unit": None})


def test_without_scores_the_card_says_so() -> None:
    for metrics in (None, {}, {"mask/iou": None}):
        assert "There is no score on test images." in write_card(config(metrics=metrics), "net")


TYPED = [
    "a|b",
    "`x`",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![](http://x/y.png)",
    "*b*",
    "&lt;",
    "# h",
    "$x$",
]


@pytest.mark.parametrize("text", TYPED)
def test_what_users_typed_is_no_markup(text: str) -> None:
    verdict = {"summary": text, "stand": "open", "warnings": [text]}
    card = write_card(
        config({"verdict": verdict}, classes=[text], loss=text, depth_unit=text, metrics={"mask/iou": 0.5}),
        text.replace("\n", " "),
    )
    page = to_html(card)
    for tag in ("<script", "<img", "<a ", "<em>", "<strong>", "href", 'javascript:alert(1)"'):
        assert tag not in page
    assert page.count("<h1>") == 1
    for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL):
        assert row.count("<t") in (3, 5)  # the row itself, and two or four cells


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_no_name_breaks_the_yaml_the_code_or_the_page(name: str) -> None:
    card = write_card(config(), name)
    assert front(card)["tags"] == ["basrelief", "image-segmentation"]
    code = re.search("```python\n(.*?)\n```", card, re.DOTALL)
    assert code
    ast.parse(code[1])
    assert "\n" not in plain(name)


def test_a_licence_must_be_an_identifier() -> None:
    for wrong in ("", "all rights reserved", "mit\ntags: [x]", "a: b"):
        with pytest.raises(UsageError, match="license="):
            write_card(config(), "net", license=wrong)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("origin")
    data = write_folder(root / "data")
    (root / "split.csv").write_text(
        "id,split\n" + "".join(f"{i:02d},{'train' if i < 6 else 'val' if i < 9 else 'test'}\n" for i in range(12))
    )
    br.train(
        data, out=root / "run", loss="bce(mask)", network="masknet", resolution=16, epochs=1,
        split=str(root / "split.csv"), lr=1e-3,
    )  # fmt: skip
    return root / "run"


def test_the_origin_of_a_run_has_means_as_the_run_and_no_paths(run: Path) -> None:
    document = br.load_predictor(run).run
    origin = find_origin(document, run, run)
    assert origin["data"]["split"] == "by a list"
    assert str(run.parent) not in str(origin)
    assert origin["verdict"] is None
    interval = origin["intervals"]["mask/iou"]
    assert interval["mean"] == pytest.approx(document["metrics"]["mask/iou"])
    assert interval["images"] == 3
    assert interval["low"] is None, "three equal scores show no spread"
    soft = origin["intervals"]["mask/soft_dice"]
    assert soft["low"] < soft["mean"] < soft["high"]
    assert "mask/iou_pooled" not in origin["intervals"]
    check_carried({**carried(document), "origin": origin}, "run")


def test_the_origin_knows_how_a_run_stands_in_its_study(run: Path, tmp_path: Path) -> None:
    document = dict(br.load_predictor(run).run)
    write_json(tmp_path / "plan.json", {"plan": {"losses": {"bce(mask)": "bce(mask)", "dice(mask)": "dice(mask)"}}})
    for winner, stands in (("dice(mask)", ("lost", "won")), (None, ("open", "open"))):
        write_json(tmp_path / "verdict.json", {"summary": "So it is.", "winner": winner, "warnings": []})
        for number, (name, stand) in enumerate(zip(("bce-mask", "dice-mask"), stands, strict=True)):
            trial = tmp_path / "trials" / f"{number:02d}-{name}" / "seed-0"
            verdict = find_origin(document, trial, tmp_path)["verdict"]
            assert verdict == {"summary": "So it is.", "stand": stand, "warnings": []}


def test_damaged_files_beside_a_run_cost_facts_and_not_the_network(run: Path, tmp_path: Path) -> None:
    for name in ("plan.json", "splits.csv", "scores.parquet", "verdict.json"):
        (tmp_path / name).write_bytes(b"\xff\x00 nothing")
    origin = find_origin(br.load_predictor(run).run, tmp_path / "x", tmp_path)
    assert origin["intervals"] == {}
    assert origin["verdict"] is None
    assert np.isfinite(origin["training"]["lr"])
