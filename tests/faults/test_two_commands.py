"""Two commands at once on one folder: one is refused or waits, with one message, and what comes out is right."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faulting import IN_FULL, Command, Ended, Starter, answers, forms, leftovers, none_is_half

FULL = {
    "pack": 8, "compose": 6, "compose c": 4, "train": 2, "study": 2, "predict": 6, "evaluate": 3, "export": 3,
    "inspect": 4, "report": 2, "generate scenes": 6, "generate shapes": 4,
}  # fmt: skip
AT_WORK = ("at work", "already", "is kept")


def both(starter: Starter, first: list[str], second: list[str], folder: Path, wait: float) -> tuple[Ended, Ended]:
    """Run two commands, the second begun so many seconds after the first."""
    one = starter.start(first, folder)
    one.after(wait)
    other = starter.start(second, folder)
    return one.wait(), other.wait()


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", forms(FULL, "pack", "predict"))
def test_the_same_command_twice_at_once(
    name: str,
    commands: Callable[[str], Command],
    starter: Starter,
    tmp_path: Path,
    in_full: bool,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    moments = random.Random(name)
    for number in range(FULL[name] if in_full else 2):
        out = command.place(tmp_path / str(number))
        wait = 0.0 if number % 2 == 0 else moments.uniform(0, command.seconds)
        ends = both(starter, command.line(out), command.line(out), out.parent, wait)
        tried(f"twice at once: {name}")
        for ended in ends:
            answers(ended)
            assert not ended.code or any(word in ended.message for word in AT_WORK), ended.said
        assert 0 in (ends[0].code, ends[1].code), [ended.said for ended in ends]
        command.is_right(out)


@pytest.mark.usefixtures("untouched")
def test_two_that_differ_on_one_folder(
    inputs: Path, starter: Starter, tmp_path: Path, in_full: bool, tried: Callable[[str], None]
) -> None:
    """Predictions by another threshold, or packs of another resolution: what stands there is all of one kind."""
    run, pictures = inputs / "run", inputs / "data/images"
    for number in range(3 if in_full else 1):
        out = tmp_path / f"predict-{number}"
        line = ["predict", run, pictures, "--out", out]
        ends = both(starter, line, [*line, "--threshold", "0.9"], tmp_path, 0.0)
        tried("two that differ at once: predict")
        for ended in ends:
            answers(ended)
        assert sorted(ended.code for ended in ends) == [0, 1], [ended.said for ended in ends]
        none_is_half(out)
        out = tmp_path / f"pack-{number}"
        line = ["pack", inputs / "data", "--out", out, "--resolution"]
        ends = both(starter, [*line, "16"], [*line, "24"], tmp_path, 0.0)
        tried("two that differ at once: pack")
        for ended in ends:
            answers(ended)
        none_is_half(out)
        assert not leftovers(out)
        answers(starter.run([*line, "16"], tmp_path), 0)


@IN_FULL
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("second", ["report", "evaluate", "predict", "export"])
def test_reading_while_it_is_written(
    second: str,
    commands: Callable[[str], Command],
    starter: Starter,
    inputs: Path,
    tmp_path: Path,
    tried: Callable[[str], None],
) -> None:
    name = "study" if second == "report" else "train"
    command = commands(name)
    moments = random.Random(second)
    for number in range(2):
        out = command.place(tmp_path / str(number))
        writer = starter.start(command.line(out), out.parent)
        writer.until(lambda out=out: (out / "plan.json").exists())
        more = {
            "predict": [inputs / "data/images", "--out", tmp_path / f"p{number}"],
            "evaluate": ["--out", tmp_path / f"e{number}"],
            "export": ["--to", "safetensors", "--out", tmp_path / f"x{number}.safetensors"],
        }
        for _ in range(3):
            writer.after(moments.uniform(0, command.seconds / 3))
            ended = starter.run([second, out, *more.get(second, ())], tmp_path)
            tried(f"{second} during {name}")
            answers(ended)
        answers(writer.wait())
        answers(starter.run(command.line(out), out.parent), 0)
        if second != "report":
            command.is_right(out)


@IN_FULL
@pytest.mark.parametrize("second", ["predict", "evaluate", "export", "report"])
def test_what_is_read_is_removed_meanwhile(
    second: str, starter: Starter, inputs: Path, tmp_path: Path, tried: Callable[[str], None]
) -> None:
    moments = random.Random(second)
    for number in range(3):
        copied = shutil.copytree(inputs / ("study" if second == "report" else "run"), tmp_path / f"copied-{number}")
        more = {
            "predict": [inputs / "data/images", "--out", tmp_path / f"p{number}"],
            "evaluate": ["--out", tmp_path / f"e{number}"],
            "export": ["--to", "safetensors", "--out", tmp_path / f"x{number}.safetensors"],
        }
        process = starter.start([second, copied, *more.get(second, ())], tmp_path)
        process.until_guarded()
        process.after(moments.uniform(0, 0.4))
        shutil.rmtree(copied, ignore_errors=True)
        ended = process.wait()
        tried(f"run or study removed during {second}")
        answers(ended)


@IN_FULL
def test_a_recipes_data_made_twice_at_once(starter: Starter, tmp_path: Path, tried: Callable[[str], None]) -> None:
    line = ["study", "--recipe", "purdue-shapes", "--scale", "smoke", "--threads", "1", "--out"]
    first, second = tmp_path / "a", tmp_path / "b"
    ends = both(starter, [*line, str(first)], [*line, str(second)], tmp_path, 0.0)
    tried("a recipe's data made twice at once")
    for ended in ends:
        answers(ended, 0)
    assert (first / "verdict.json").exists() == (second / "verdict.json").exists() is True
