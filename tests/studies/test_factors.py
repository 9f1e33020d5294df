"""A study varies one factor, which may be another than the loss; a second one is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import basrelief as br
from basrelief.app import settings_from
from basrelief.config import StudySettings
from basrelief.errors import UsageError
from basrelief.studies.factors import name_levels, one_factor, spell, with_names
from commands import run

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "batch_size": 4, "precision": "fp32", "seeds": 2, "lr": 1e-3,
    "jobs": 1,
}  # fmt: skip


def run_of(out: Path, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "trials" / folder / "run.json").read_text())
    return found


def test_networks_are_compared_with_one_loss(discs: Path, tmp_path: Path) -> None:
    """Each level is trained as its own network, on the same seeds, split and loss; the plan says what varies."""
    networks = ("masknet", "other = masknet(dropout=0.3)")
    out = tmp_path / "s"
    verdict = br.study(discs, out=out, **SMALL | {"vary": "network", "network": networks, "losses": ("dice(mask)",)})
    assert [row["name"] for row in verdict["losses"]] == ["masknet", "other"]
    assert [(pair["a"], pair["b"]) for pair in verdict["pairs"]] == [("masknet", "other")]
    one, two = run_of(out, "00-masknet/seed-1"), run_of(out, "01-other/seed-1")
    assert (one["network"], two["network"]) == ("masknet", "masknet(dropout=0.3)")
    assert one["loss"] == two["loss"] == "dice(mask)"
    assert one["split"] == two["split"]
    assert json.loads((out / "plan.json").read_text())["plan"]["factor"] == "network"
    assert br.load_predictor(out).run["network"] in ("masknet", "masknet(dropout=0.3)")


@pytest.mark.parametrize(
    ("vary", "option", "values", "setting"),
    [
        ("lr", "lr", ("1e-3", "fast = 0.01"), [0.001, 0.01]),
        ("augmentation", "augment", ("none", "flip"), ["none", "flip"]),
    ],
)
def test_rates_and_augmentations_are_compared(
    discs: Path, tmp_path: Path, vary: str, option: str, values: tuple[str, ...], setting: list[Any]
) -> None:
    out = tmp_path / "s"
    br.study(discs, out=out, **SMALL | {"vary": vary, option: values, "losses": ("dice(mask)",)})
    runs = [json.loads(path.read_text()) for path in sorted(out.glob("trials/*/seed-0/run.json"))]
    assert [found["settings"][option] for found in runs] == setting
    assert len({found["initial_weights"] for found in runs}) == 1, "same seed, same weights"


def test_a_network_that_lacks_a_head_is_an_error_whichever_place_it_has(discs_with_depth: Path, tmp_path: Path) -> None:
    options = SMALL | {"vary": "network", "losses": ("rmse(depth)",), "network": ("relief(width=8)", "masknet")}
    with pytest.raises(UsageError, match="'masknet' has no depth"):
        br.study(discs_with_depth, out=tmp_path / "s", **options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--network", "a", "--network", "b"), "say so: --vary network"),
        (("--vary", "network", "--vary", "lr"), "varies one factor"),
        (("--vary", "network", "--network", "masknet", "--lr", "1", "--lr", "2"), "two causes"),
        (("--vary", "lr", "--lr", "1", "--lr", "2", "--loss", "bce(mask)", "--loss", "dice(mask)"), "two causes"),
        (("--loss", "bce(mask)", "--loss", "dice(mask)", "--lr", "1", "--lr", "2"), "two causes"),
        (("--vary", "network"), "give several, such as --network"),
        (("--vary", "lr", "--lr", "1", "--lr", "1.0"), "given twice"),
        (("--vary", "lr", "--lr", "1", "--lr", "search"), "search is none"),
        (("--vary", "lr", "--lr", "1", "--lr", "nothing"), "--lr nothing: expected a number"),
        (("--vary", "weather", "--lr", "1"), "'network'"),
        (("--vary", "augmentation", "--augment", "none", "--augment", "flop"), "flip"),
    ],
)
def test_what_is_no_single_factor_is_refused_with_the_reason(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, _, err = run(capsys, "study", discs, "--out", tmp_path / "s", *words)
    assert code in (1, 2)
    assert said in err
    assert not (tmp_path / "s").exists()


def test_options_from_python_may_be_one_value_or_several() -> None:
    assert one_factor({"network": "masknet", "lr": [1e-3]}) == {
        "network": "masknet", "lr": 1e-3, "augment": None, "vary": None,
    }  # fmt: skip
    assert one_factor({"vary": "lr", "lr": (1e-3, 1e-2)})["levels"] == ("0.001", "0.01")


def test_an_unknown_factor_is_named_however_many_losses_there_are() -> None:
    for losses in ((), ("bce(mask)", "dice(mask)")):
        with pytest.raises(UsageError, match="--vary 'foo': expected 'loss', 'network'"):
            one_factor({"vary": ["foo"], "losses": losses})


def test_a_rate_is_kept_and_repeated_in_full() -> None:
    """Six digits, as %g writes, would train and repeat another rate than was asked for."""
    asked = one_factor({"vary": "lr", "lr": ("1.23456789e-3", "1e-2"), "losses": ("bce(mask)",)})
    settings = settings_from({"location": "scenes:40", **asked}, StudySettings)
    named = name_levels(with_names(settings))
    assert [change["lr"] for change in named.values()] == [1.23456789e-3, 1e-2]
    assert list(named) == ["0.00123456789", "0.01"]
    assert (spell(1e-30), spell(0.1 + 0.2), spell(3)) == ("1e-30", "0.30000000000000004", "3")


def test_a_search_is_no_rate_to_compare() -> None:
    """It reached the training, which asks for a number."""
    with pytest.raises(UsageError, match="search is none"):
        br.study("scenes:8", vary="lr", lr=("search", "1e-2"), losses=("bce(mask)",), network="masknet")
