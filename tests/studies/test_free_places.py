"""Where a study goes that is given no place: never where another one is, nor where one is kept at a URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import basrelief as br
from basrelief.config import ExecutionSettings, checked
from basrelief.errors import OutputError, UsageError

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "batch_size": 4, "precision": "fp32", "seeds": 2, "lr": 1e-3,
    "losses": ("bce(mask)", "dice(mask)"), "jobs": 1,
}  # fmt: skip


def test_a_study_refused_after_packing_leaves_its_place_to_the_next(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--minutes"):
        br.study(discs, minutes=0.001, **SMALL)
    assert (tmp_path / "runs" / discs.name / "data").is_dir()
    assert br.study(discs, **SMALL)["out"] == str(Path("runs") / discs.name)


def test_a_url_that_cannot_be_read_leaves_no_folder(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next study of that name would be pushed there."""
    monkeypatch.chdir(tmp_path)

    def unreadable(*_: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.exists", unreadable)
    with pytest.raises(OutputError, match="cannot be read or written"):
        br.study(discs, out=f"memory://bucket/{discs.name}", **SMALL)
    assert not (tmp_path / "runs").exists()


def test_a_url_that_cannot_be_written_is_an_error_before_anything_is_packed(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be read or written"):
        br.study(discs, out=f"file://{tmp_path}/file/{discs.name}", **SMALL)
    assert not (tmp_path / "runs").exists()


def test_a_study_of_the_same_name_and_settings_does_not_go_to_a_url(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    br.study(discs, out=f"file://{tmp_path}/there/{discs.name}", **SMALL)
    verdict = br.study(discs, **SMALL)
    assert verdict["out"] == str(Path("runs") / f"{discs.name}-2")
    assert "url" not in verdict


def test_somebody_elses_plan_among_the_data_is_not_taken_for_a_study(discs: Path, tmp_path: Path) -> None:
    (discs / "plan.json").write_text("[1]")
    assert br.study(discs, out=tmp_path / "s", **SMALL)["out"] == str(tmp_path / "s")


def test_the_local_folder_of_a_url_is_nobody_elses(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "runs" / discs.name
    kept.mkdir(parents=True)
    (kept / ".url").write_text("memory://bucket/other")
    assert br.study(discs, **SMALL)["out"] == str(Path("runs") / f"{discs.name}-2")


def test_an_address_without_ray_is_an_error() -> None:
    with pytest.raises(UsageError, match="give --executor ray"):
        checked(ExecutionSettings, {"address": "auto"})
