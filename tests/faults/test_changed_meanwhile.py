"""Files that change, shrink, vanish or become something else while a command reads them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faulting import Command, Starter, answers, forms, none_is_half

CASES = {  # command -> what of its inputs is attacked
    "pack": "data",
    "inspect": "data",
    "study": "data",
    "train": "data",
    "compose": "rooms",
    "compose c": "cutouts",
    "predict": "run",
    "evaluate": "run",
    "export": "run",
    "report": "OUT",
}
ROUNDS = {"study": 3, "train": 3, "report": 3, "predict": 6, "evaluate": 4, "export": 4}


def spoil(path: Path, chances: random.Random) -> str:
    """Change a file in one of many ways, in place or in one step; return how."""
    how = chances.choice(["cut", "cut", "empty", "longer", "flipped", "removed", "folder", "link", "loop", "other"])
    content = path.read_bytes()
    if how == "cut":
        with path.open("r+b") as file:
            file.truncate(chances.randrange(len(content) or 1))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "longer":
        with path.open("ab") as file:
            file.write(b"\0" * 100)
    elif how == "flipped":
        with path.open("r+b") as file:
            file.seek(chances.randrange(len(content) or 1))
            file.write(bytes([chances.randrange(256)]))
    elif how == "other":
        path.write_bytes(chances.randbytes(500))
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "link":
            path.symlink_to("nowhere")
        elif how == "loop":
            path.symlink_to(path.name)
    return how


@pytest.mark.parametrize("name", forms(CASES, "pack"))
def test_inputs_that_change_while_they_are_read(
    name: str,
    inputs: Path,
    commands: Callable[[str], Command],
    starter: Starter,
    tmp_path: Path,
    in_full: bool,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    chances = random.Random(name)
    for number in range(ROUNDS.get(name, 10) if in_full else 1):
        copied = shutil.copytree(inputs, tmp_path / f"inputs-{number}", ignore=shutil.ignore_patterns("study"))
        out = command.place(tmp_path / str(number))
        line = [word.replace(str(inputs), str(copied)) for word in command.line(out)]
        process = starter.start(line, out.parent)
        process.until_guarded()
        process.after(chances.uniform(0, 0.8 * command.seconds))
        base = out if CASES[name] == "OUT" else copied / CASES[name]
        files = [path for path in sorted(base.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        done = [
            f"{path.relative_to(base)} {spoil(path, chances)}" for path in chances.sample(files, 4) if path.exists()
        ]
        ended = process.wait()
        tried(f"inputs changed meanwhile: {name}")
        try:
            answers(ended)
        except AssertionError as error:
            raise AssertionError(f"{done}: {error}") from None
        if ended.code:
            assert str(tmp_path) in ended.said + ended.out or "samples" in ended.said, ended.said
        if CASES[name] != "OUT" and out.exists():
            none_is_half(out)


@pytest.mark.parametrize("command", forms(["train", "study", "study --jobs 2", "evaluate"], "train"))
def test_a_store_that_is_cut_while_it_is_trained_on(
    command: str, inputs: Path, starter: Starter, tmp_path: Path, in_full: bool, tried: Callable[[str], None]
) -> None:
    """Reading a mapped file beyond its end is a signal, SIGBUS, that no Python code can answer."""
    for number in range(2 if in_full else 1):
        store, out = shutil.copytree(inputs / "store", tmp_path / f"store-{number}"), tmp_path / f"out-{number}"
        more = ["--network", "masknet", "--resolution", "16", "--epochs", "400", "--batch-size", "4", "--lr", "1e-3"]
        more += ["--precision", "fp32", "--threads", "1", "--tracker", "none", "--checkpoint-every", "0"]
        if command == "evaluate":
            copied = shutil.copytree(inputs / "run", tmp_path / f"run-{number}")
            store = copied / "data"
            process = starter.start(["evaluate", copied, "--out", out], tmp_path)
            process.until_guarded()
        else:
            name, *jobs = command.split()
            losses = ["--loss", "bce(mask)", *(["--loss", "dice(mask)", "--seeds", "2"] if name == "study" else [])]
            process = starter.start([name, store, "--out", out, *more, *losses, *jobs], tmp_path)
            process.until(lambda out=out: bool(list(out.rglob("last.safetensors"))))
        for path in sorted(store.glob("*.npy")):
            with path.open("r+b") as file:
                file.truncate(200)
        ended = process.wait()
        tried(f"store cut while in use: {command}")
        answers(ended)
        if ended.code:
            assert str(store) in ended.said or "store" in ended.said, ended.said
