"""Folders that may not be written and files that may not be read, by a user who is not root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faulting import Command, Starter, answers, digests, forms

NOBODY = 65534
NAMES = (
    "pack", "compose", "compose c", "train", "study", "predict", "evaluate", "export", "inspect", "report",
    "generate scenes", "generate shapes",
)  # fmt: skip


@pytest.fixture
def nobody(starter: Starter, home: Path) -> int | None:
    """The user that commands run as; None: this one, who is not root."""
    if os.geteuid():
        return None
    if starter.run(["list", "losses", "--json"], home, user=NOBODY).code:
        pytest.skip("another user than root cannot read this installation")
    return NOBODY


@pytest.fixture
def place(home: Path, request: pytest.FixtureRequest) -> Path:
    folder = home / "".join(letter for letter in request.node.name if letter.isalnum() or letter == "_")
    folder.mkdir()
    return folder


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", forms(NAMES, "pack"))
@pytest.mark.parametrize("where", forms(["beside", "inside"], "beside"))
def test_a_folder_that_may_not_be_written(
    name: str,
    where: str,
    nobody: int | None,
    place: Path,
    commands: Callable[[str], Command],
    starter: Starter,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    out = command.place(place / "there")
    if where == "inside" and not out.suffix:
        out.mkdir(exist_ok=True)
    before = digests(out)
    places = [place / "there", *([out] if out.is_dir() else [])]
    for folder in places:
        folder.chmod(0o555)
    ended = starter.run(command.line(out), place, user=nobody)
    tried(f"read-only folder: {name}")
    for folder in places:
        folder.chmod(0o755)
    answers(ended, 1)
    assert str(out.parent) in ended.said, ended.said
    assert digests(out) == before


@pytest.mark.parametrize(
    ("name", "kept"),
    forms(
        [
            ("pack", "data/images/03.png"),
            ("pack", "data/masks"),
            ("train", "data/masks/05.png"),
            ("inspect", "data/images"),
            ("compose", "rooms/room-2.png"),
            ("compose", "cutouts"),
            ("predict", "run/run.json"),
            ("predict", "run/best.safetensors"),
            ("predict", "data/images/00.png"),
            ("predict", "data/images"),
            ("evaluate", "run/plan.json"),
            ("evaluate", "run/data/image-000.npy"),
            ("evaluate", "run/data/index.parquet"),
            ("evaluate", "run/splits.csv"),
            ("export", "run/best.safetensors"),
            ("export", "run"),
            ("report", "OUT/plan.json"),
            ("report", "OUT/data/mask-000.npy"),
            ("report", "OUT/trials/00-bce-mask/seed-0/scores.parquet"),
            ("report", "OUT/trials/00-bce-mask/seed-0"),
            ("report", "OUT/trials"),
            ("study", "data/masks/05.png"),
        ],
        ("pack", "data/images/03.png"),
    ),
)
def test_a_file_that_may_not_be_read(
    name: str,
    kept: str,
    nobody: int | None,
    place: Path,
    inputs: Path,
    commands: Callable[[str], Command],
    starter: Starter,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    copied = shutil.copytree(inputs, place / "inputs")
    out = command.place(place / "there")
    for path in [out.parent, *(out.rglob("*") if out.is_dir() else []), *([out] if out.exists() else [])]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    line = [word.replace(str(inputs), str(copied)) for word in command.line(out)]
    target = out / kept[4:] if kept.startswith("OUT/") else copied / kept
    mode = target.stat().st_mode & 0o777
    target.chmod(0)
    ended = starter.run(line, place, user=nobody)
    tried(f"unreadable input: {name}")
    target.chmod(mode)
    answers(ended)
    if ended.code == 0:
        assert name == "report", ended.said
    else:
        assert target.name in ended.said + ended.out or str(target.parent) in ended.said, ended.said
