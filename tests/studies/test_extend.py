"""A study that is there grows by seeds and losses, says how far it is, and runs nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import basrelief as br
from basrelief.errors import DataError, UsageError
from basrelief.studies.extend import extend_plan
from basrelief.studies.status import study_status
from basrelief.studies.stored import reopen
from commands import run

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "batch_size": 4, "precision": "fp32", "lr": 1e-3, "jobs": 1,
    "losses": ("bce(mask)", "dice(mask)"),
}  # fmt: skip


def times_of(out: Path) -> dict[str, int]:
    return {str(path.parent.relative_to(out)): path.stat().st_mtime_ns for path in out.glob("trials/*/*/run.json")}


def test_a_study_that_grew_is_the_one_that_was_larger_from_the_start(discs: Path, tmp_path: Path) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    br.study(discs, out=grown, seeds=1, **SMALL)
    before = times_of(grown)
    br.study(grown, add_seeds=1, add_losses=("third = ssim(mask)",))
    after = times_of(grown)
    assert len(after) == 6
    assert {place: after[place] for place in before} == before, "what was trained is not trained again"
    br.study(discs, out=whole, seeds=2, **SMALL | {"losses": (*SMALL["losses"], "third = ssim(mask)")})
    one, two = (json.loads((out / "verdict.json").read_text()) for out in (grown, whole))
    for key in ("losses", "pairs", "winner"):
        assert one[key] == two[key]
    assert any("added after a verdict with 1 seed." in warning for warning in one["warnings"])
    assert not any("added after" in warning for warning in two["warnings"])


def test_asking_again_for_what_was_interrupted_adds_nothing(discs: Path, tmp_path: Path) -> None:
    """The command that adds seeds is killed before they are trained, and typed again."""
    out = tmp_path / "s"
    br.study(discs, out=out, seeds=1, **SMALL)
    extend_plan(out, seeds=2)
    assert reopen(out).plan.seeds == (0, 1, 2)
    br.study(out, add_seeds=2)
    assert reopen(out).plan.seeds == (0, 1, 2)
    assert len(times_of(out)) == 6
    br.study(out, add_seeds=2)
    assert reopen(out).plan.seeds == (0, 1, 2, 3, 4)


def test_what_does_not_fit_the_study_is_refused_and_leaves_it_as_it_was(discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    br.study(discs, out=out, seeds=1, **SMALL)
    plan = (out / "plan.json").read_bytes()
    for options, said in (
        ({"add_losses": ("dice(mask)",)}, "is in .* already"),
        ({"add_losses": ("rmse(depth)",)}, "needs depth"),
        ({"add_losses": ("dicee(mask)",)}, "dice"),
        ({"epochs": 7}, "leave --epochs out"),
        ({"out": tmp_path / "elsewhere"}, "leave --out out"),
    ):
        with pytest.raises(UsageError, match=said):
            br.study(out, **options)
    assert (out / "plan.json").read_bytes() == plan
    with pytest.raises(DataError, match="holds no study to extend"):
        br.study(discs, add_seeds=1)
    with pytest.raises(DataError, match="holds no study"):
        study_status(discs)


def test_the_state_of_a_study_names_what_is_done_and_how_to_go_on(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s"
    br.study(discs, out=out, seeds=1, **SMALL)
    extend_plan(out, seeds=1)
    code, text, _ = run(capsys, "study", "--status", out, "--json")
    status = json.loads(text)
    assert code == 0
    assert status["counts"] == {"finished": 2, "failed": 0, "dropped": 0, "begun": 0, "waiting": 2}
    assert [row["state"] for row in status["trials"]] == ["finished", "finished", "waiting", "waiting"]
    assert status["next"].split()[:2] == ["basrelief", "study"]
    code, text, _ = run(capsys, "study", "--status", out)
    assert code == 0
    assert "2 finished, 2 waiting" in text
    code, _, _ = run(capsys, "study", out, "--jobs", "1")
    assert code == 0
    assert study_status(out)["next"] is None


def test_losses_cannot_be_added_where_networks_are_compared(discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    options = SMALL | {"vary": "network", "network": ("masknet", "masknet(dropout=0.5)"), "losses": ("dice(mask)",)}
    br.study(discs, out=out, seeds=1, **options)
    with pytest.raises(UsageError, match="compares networks"):
        br.study(out, add_losses=("bce(mask)",))


@pytest.mark.parametrize("more", [{"add_seeds": -1}, {"add_seeds": 1.5}, {"add_losses": "focal(mask)"}])
def test_what_cannot_be_added_is_named_from_python_too(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--add-"):
        br.study(tmp_path, **more)
