"""Hostile inputs given to every command that takes them, each in a process of its own with limits.

The commands end with 0, 1 or 2 and a message, in time, within the memory given, run nothing that the input names, and
leave it as it was; pages hold no name unescaped. The short form takes an input of each family and gives it to one
command, such that each command is met; the long form gives all to all.
"""

# ruff: noqa: PTH113, PTH114, PTH118
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import rounds as lengths
from faulting import Starter
from fuzz.corpus import HOSTILE
from networks import saved
from support import write_folder

GIGABYTES = 4  # more than any of these inputs can honestly need, with all libraries read
TRAIN = [
    "--network",
    "masknet",
    "--loss",
    "bce(mask)",
    "--epochs",
    "1",
    "--resolution",
    "16",
    "--batch-size",
    "2",
    "--device",
    "cpu",
]


def commands(kind: str, given: str, place: Path) -> list[list[str]]:
    """Return the commands that take an input of this kind."""
    out, data, photo = str(place / "out"), str(place / "good"), str(place / "good/images/00.png")
    match kind:
        case "data":
            return [
                ["inspect", given, "--html", f"{out}.html"],
                ["pack", given, out, "--resolution", "16"],
                ["train", given, *TRAIN, "--out", f"{out}-run"],
            ]
        case "picture":
            net = str(place / "net")
            return [
                ["predict", net, given, "--out", out],
                ["predict", net, str(Path(given).parent), "--out", f"{out}2"],
            ]
        case "network":
            weights = ["train", data, *TRAIN, "--weights", given, "--out", f"{out}-run"]
            return [
                ["predict", given, photo, "--out", out],
                ["evaluate", given, data],
                ["export", given, "--to", "onnx"],
                weights,
            ]
        case "run":
            return [
                ["report", given, "--to", "markdown"],
                ["report", given],
                ["study", "--status", given],
                ["predict", given, photo, "--out", out],
                ["compare", given, given],
            ]
        case "recipe":
            return [["train", "--recipe", given, "--out", out], ["study", data, "--recipe", given, "--out", out]]
        case _:
            return [["train", data, *TRAIN, "--split", given, "--out", out]]


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """What starts commands: not a copy of this process, in which threads of other tests may hold locks."""
    found = Starter(tmp_path_factory.mktemp("said"))
    yield found
    found.close()


def fingerprint(root: Path) -> str:
    """Return a hash of every name and content below a folder, without opening what is no file."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(os.fsencode(root)):
        for name in sorted(names + files):
            path = os.path.join(folder, name)
            digest.update(path)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:  # noqa: PTH123 - of bytes
                    digest.update(file.read())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good data and a saved network, which the commands that need both are given."""
    place = tmp_path_factory.mktemp("good")
    write_folder(place / "good", 6)
    saved(place / "net")
    return place


def chosen() -> dict[str, int]:
    """Return the inputs of the short form, and the number of the command that each is given to."""
    families: dict[str, list[str]] = {}
    for name in HOSTILE:
        families.setdefault(name.partition(":")[0], []).append(name)
    given: dict[str, int] = {}
    for kind in sorted({kind for kind, _ in HOSTILE.values()}):  # the same tests in every process
        mine = [names for names in families.values() if HOSTILE[names[0]][0] == kind]
        turns = max(len(mine), len(commands(kind, "", Path())))
        for turn in range(turns):
            names = mine[turn % len(mine)]
            given[names[(7 * turn + 3) % len(names)]] = turn % len(commands(kind, "", Path()))
    return given


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "hostile_input" in metafunc.fixturenames:
        metafunc.parametrize("hostile_input", HOSTILE if lengths.is_long(metafunc.config) else chosen())


def test_the_short_form_meets_each_family_and_command() -> None:
    assert len(HOSTILE) >= 200
    met = chosen()
    assert {name.partition(":")[0] for name in met} == {name.partition(":")[0] for name in HOSTILE}
    for kind in {kind for kind, _ in HOSTILE.values()}:
        used = {number for name, number in met.items() if HOSTILE[name][0] == kind}
        assert used == set(range(len(commands(kind, "", Path()))))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hostile_input(hostile_input: str, good: Path, starter: Starter, tmp_path: Path, is_long: bool) -> None:
    kind, write = HOSTILE[hostile_input]
    root, place = tmp_path / "input", tmp_path / "place"
    root.mkdir()
    place.mkdir()
    (place / "good").symlink_to(good / "good")
    (place / "net").symlink_to(good / "net")
    given = str(write(root))
    before = fingerprint(root)
    wrong = []
    taking = commands(kind, given, place)
    for words in taking if is_long else [taking[chosen()[hostile_input]]]:
        ended = starter.run(words, place, memory=GIGABYTES << 30)
        said = ended.out + ended.said
        lines = said.strip().splitlines()
        shown = f"{words[0]} ended with {ended.code}: " + "\n".join(lines[-12:])[-1500:]
        if ended.code not in (0, 1, 2) or "Traceback" in said or (ended.code and not lines):
            wrong.append(shown)
    if fingerprint(root) != before and kind != "run":
        wrong.append("the input was changed")
    if (place / "executed").exists() or (root / "executed").exists():
        wrong.append("the input was executed")
    for page in [*place.glob("*.html"), *root.rglob("report.html")]:
        if "<script>alert(1)" in page.read_text(encoding="utf-8"):
            wrong.append(f"{page.name} holds a name as markup")
    assert not wrong, "\n\n".join(wrong)
