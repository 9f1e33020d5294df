"""Files that Basrelief wrote, damaged in many places and ways: each command that reads them ends in one message."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import commands as command_line
from faulting import Starter, answers, forms

RUN = (
    "plan.json", "run.json", "splits.csv", "best.safetensors", "last.safetensors", "scores.parquet", "history.parquet",
    "history.csv", "previews.npz", "data/store.json", "data/index.parquet", "data/image-000.npy", "data/mask-000.npy",
)  # fmt: skip
TRIAL = "trials/00-bce-mask/seed-0"
STUDY = (
    "plan.json", "splits.csv", "verdict.json", "baselines.json", "scores.parquet", "data/store.json",
    "data/index.parquet", "data/mask-000.npy",
    *(f"{TRIAL}/{name}" for name in RUN[1:9] if name not in ("splits.csv", "last.safetensors")),
)  # fmt: skip
WRONG: tuple[Any, ...] = (None, -1, 1e308, 0, "", "x", [], {}, [[]], True, "\0", 2**70, ["a", 1], {"a": None})


def spoil(path: Path, chances: random.Random, others: list[Path]) -> str:
    """Damage a file; return how."""
    ways = ["flip", "flip", "flips", "cut", "empty", "zeros", "swap", "insert", "folder", "text"]
    ways += ["type"] * 6 if path.suffix == ".json" else []
    how = chances.choice(ways)
    content = bytearray(path.read_bytes())
    size = len(content)
    if how in ("flip", "flips") and size:
        for _ in range(1 if how == "flip" else 20):
            content[chances.randrange(size)] ^= 1 << chances.randrange(8)
    elif how == "cut":
        del content[chances.randrange(size or 1) :]
    elif how == "zeros":
        start = chances.randrange(size or 1)
        content[start : start + 64] = bytes(len(content[start : start + 64]))
    elif how == "insert":
        start = chances.randrange(size or 1)
        content[start:start] = chances.randbytes(chances.randrange(1, 40))
    elif how == "swap":
        content = bytearray(chances.choice(others).read_bytes())
    elif how == "text":
        content = bytearray(chances.choice([b"null", b"[]", b"{}", b"[" * 5000, b'{"a": NaN}', b"\xff\xfe", b"1"]))
    elif how == "type":
        document = json.loads(bytes(content))
        how = f"type {change(document, chances)}"
        content = bytearray(json.dumps(document).encode())
    elif how == "folder":
        path.unlink()
        path.mkdir()
        return how
    else:
        content = bytearray()
    path.write_bytes(content)
    return how


def change(document: Any, chances: random.Random) -> str:
    """Put something of another type at one place of a document, or take that out; return where."""
    where = ""
    while True:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return where
        key = chances.choice(keys)
        where += f"/{key}"
        if isinstance(document[key], (dict, list)) and document[key] and chances.random() < 0.75:
            document = document[key]
            continue
        if chances.random() < 0.2:
            del document[key]
        else:
            document[key] = chances.choice(WRONG)
            where += f" = {document[key]!r}"
        return where


READERS: dict[str, Callable[[Path, Path, Path], list[object]]] = {
    "predict": lambda it, inputs, out: ["predict", it, inputs / "data/images/00.png", "--out", out / "p"],
    "evaluate": lambda it, inputs, out: ["evaluate", it, "--out", out / "e"],
    "report": lambda it, inputs, out: ["report", it],
    "report md": lambda it, inputs, out: ["report", it, "--to", "md"],
    "export": lambda it, inputs, out: ["export", it, "--to", "safetensors", "--out", out / "x.safetensors"],
    "inspect": lambda it, inputs, out: ["inspect", it / "data"],
    "pack": lambda it, inputs, out: ["pack", it / "data", "--out", out / "s", "--resolution", "8"],
    "report json": lambda it, inputs, out: ["report", it, "--to", "json", "--json"],
}


@pytest.mark.parametrize("kind", forms(["run", "study"], "run"))
def test_a_damaged_file_of_a_run_or_study(
    kind: str,
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    in_full: bool,
    tried: Callable[[str], None],
) -> None:
    whole = inputs / kind
    files = RUN if kind == "run" else STUDY
    readers = [name for name in READERS if kind == "study" or "report" not in name]
    chances = random.Random(kind)
    faults = []
    for number in range(700 if in_full else 12):
        it = tmp_path / str(number)
        out = tmp_path / f"out-{number}"
        shutil.copytree(whole, it)
        name, reader = files[number % len(files)], chances.choice(readers)
        others = [path for path in whole.rglob("*") if path.is_file()]
        how = spoil(it / name, chances, others)
        fault = ends_in_a_message(READERS[reader](it, inputs, out), it, Path(name), capsys)
        tried(f"damaged file of a {kind}")
        faults += [f"{name} {how} · {reader}: {fault}"] if fault else []
        shutil.rmtree(it)
        shutil.rmtree(out, ignore_errors=True)
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults)


def ends_in_a_message(words: list[object], folder: Path, name: Path, capsys: pytest.CaptureFixture[str]) -> str | None:
    """Return what is wrong with how a command ended; None where it worked, or said which file is at fault."""
    try:
        code, _, said = command_line.run(capsys, *words)
    except AssertionError as error:
        return f"traceback {str(error)[-300:]}"
    except BaseException as error:  # what the command line does not turn into a message
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
        return f"{type(error).__name__}: {str(error)[:200]} at {where}"
    if code == 0:
        return None
    if said.count("basrelief: ") != 1 or code not in (1, 2):
        return f"code {code}: {said[-300:]}"
    if str(folder) not in said and name.name not in said:
        return f"names no file: {said[-300:]}"
    return None


def test_a_damaged_saved_network(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], in_full: bool, tried: Callable[[str], None]
) -> None:
    chances = random.Random(0)
    faults = []
    others = [path for path in (inputs / "run").rglob("*") if path.is_file()]
    for number in range(80 if in_full else 6):
        it = tmp_path / f"{number}.safetensors"
        shutil.copy(inputs / "net.safetensors", it)
        if number % 2:  # its header, which is most of what there is to get wrong
            content = bytearray(it.read_bytes())
            end = 8 + int.from_bytes(content[:8], "little")
            content[chances.randrange(end)] = chances.randrange(256)
            it.write_bytes(content)
            how = "header"
        else:
            how = spoil(it, chances, others)
        words: list[object] = ["predict", it, inputs / "data/images/00.png", "--out", tmp_path / f"p{number}"]
        fault = ends_in_a_message(words, it, Path(it.name), capsys)
        tried("damaged saved network")
        faults += [f"{how}: {fault}"] if fault else []
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults)


def test_damage_met_by_a_process_of_its_own(
    inputs: Path, starter: Starter, tmp_path: Path, in_full: bool, tried: Callable[[str], None]
) -> None:
    """A file that crashes a library takes the whole process with it, which the tests above would not survive."""
    chances = random.Random(1)
    for number in range(12 if in_full else 2):
        it = shutil.copytree(inputs / "run", tmp_path / str(number))
        name = chances.choice(RUN)
        how = spoil(it / name, chances, [path for path in (inputs / "run").rglob("*") if path.is_file()])
        reader = chances.choice(["predict", "evaluate", "export"])
        ended = starter.run(READERS[reader](it, inputs, tmp_path / f"out-{number}"), tmp_path)
        tried("damaged file, met in a process of its own")
        try:
            answers(ended)
        except AssertionError as error:
            raise AssertionError(f"{name} {how} · {reader}: {error}") from None
