"""What the attacks share. ``pytest -m faults`` runs many rounds of each; every other choice of tests few."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faulting import STUDY, TRAINING, Command, Starter, digests
from materials import write_cutouts, write_rooms
from support import write_folder

TRIED: Counter[str] = Counter()
FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for attack, rounds in sorted(TRIED.items()):
        terminalreporter.write_line(f"rounds tried: {rounds:6}  {attack}")


@pytest.fixture(scope="session")
def in_full(pytestconfig: pytest.Config) -> bool:
    """Whether the suite runs in full: where it was asked for by its marker, or by BASRELIEF_FAULTS=full."""
    return pytestconfig.option.markexpr == "faults" or os.environ.get("BASRELIEF_FAULTS") == "full"


@pytest.fixture
def tried() -> Callable[[str], None]:
    """Count a round of an attack."""

    def count(attack: str) -> None:
        TRIED[attack] += 1

    return count


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="basrelief-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def starter(home: Path) -> Iterator[Starter]:
    said = home / "said"
    said.mkdir()
    said.chmod(0o777)
    starter = Starter(said)
    yield starter
    starter.close()


@pytest.fixture(scope="session")
def inputs(home: Path, starter: Starter, in_full: bool) -> Path:
    """Data, rooms and cut-outs, a run, a study and a saved network: what commands read. Nothing may change it."""
    place = home / "inputs"
    write_folder(place / "data", 24)
    write_rooms(place / "rooms", 4)
    write_cutouts(place / "cutouts", 4)
    made = (
        ["train", place / "data", "--out", place / "run", "--loss", "bce(mask)", *TRAINING],
        ["study", place / "data", "--out", place / "study", *STUDY],
        ["pack", place / "data", "--out", place / "store", "--resolution", "16"],
        ["export", place / "run", "--to", "safetensors", "--out", place / "net.safetensors"],
    )
    for words in made if in_full else made[:1] + made[2:]:  # only the full form looks at a study
        ended = starter.run(words, place)
        assert ended.code == 0, ended.said
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return place


@pytest.fixture
def untouched(inputs: Path) -> Iterator[None]:
    """See that a test leaves what is read as it was."""
    before = digests(inputs)
    yield
    assert digests(inputs) == before


@pytest.fixture(scope="session")
def commands(inputs: Path, starter: Starter, home: Path, in_full: bool) -> Callable[[str], Command]:
    """Return a command by its name, once it is known what it leaves undisturbed."""
    data, run = str(inputs / "data"), str(inputs / "run")
    composing = ["compose", str(inputs / "rooms"), str(inputs / "cutouts"), "--out", "OUT", "--resolution", "32"]
    composing += ["--min-size", "0.3"]
    known = [
        Command("pack", ["pack", data, "--out", "OUT", "--resolution", "16"], "out",
                bound=("image-000.npy", "mask-000.npy")),
        Command(
            "compose",
            [*composing, "--jobs", "1"],
            "out",
            bound=("samples.csv",),
        ),
        Command(
            "compose c",
            [*composing, "--jobs", "1", "--layout", "c", "--positions", "3"],
            "out",
            bound=("data_part1.zip",),
        ),
        Command(
            "train",
            ["train", data, "--out", "OUT", "--loss", "bce(mask)", *TRAINING],
            "out",
            bound=("best.safetensors", "scores.parquet"),
        ),
        Command("study", ["study", data, "--out", "OUT", *STUDY], "out", bound=("verdict.json",)),
        Command("predict", ["predict", run, str(inputs / "data/images"), "--out", "OUT", "--preview"], "out",
                bound=("00_mask.png",)),
        Command("evaluate", ["evaluate", run, "--out", "OUT"], "out", bound=("images.parquet",)),
        Command("export", ["export", run, "--to", "safetensors", "--out", "OUT"], "net.safetensors"),
        Command("inspect", ["inspect", data, "--html", "OUT"], "page.html"),
        Command("report", ["report", "OUT"], "study", inputs / "study", bound=("verdict.json",)),
        Command("generate scenes", ["generate", "scenes", "--count", "40", "--out", "OUT"], "out"),
        Command("generate shapes", ["generate", "purdue-shapes", "--count", "60", "--out", "OUT"], "made-train.gz"),
    ]  # fmt: skip
    by_name = {command.name: command for command in known}

    def find(name: str) -> Command:
        command = by_name[name]
        if command.expected is None:
            command.learn(starter, home / "undisturbed", 2 if in_full else 1)
        return command

    return find
