"""Help as a newcomer reads it: nothing cut off, commands in order, examples that parse, and the shell's completion."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from basrelief import cli
from basrelief.cli_examples import EXAMPLES
from basrelief.cli_help import COMMANDS, OPTIONS
from commands import run

ROOT = Path(__file__).parents[1]
GROUP: Any = typer.main.get_command(cli.app)


def every_command(group: Any = GROUP, before: str = "") -> dict[str, Any]:
    found = {}
    for name, command in group.commands.items():
        found[(before + " " + name).strip()] = command
        if hasattr(command, "commands"):
            found |= every_command(command, name)
    return found


@pytest.mark.parametrize("columns", ["80", "160"])
def test_the_list_of_commands_is_cut_off_nowhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, printed, _ = run(capsys, "--help")
    assert code == 0
    assert "..." not in printed.replace("[ARGS]...", "")
    assert "…" not in printed
    places = [printed.index(f"\n  {name} ") for names in COMMANDS.values() for name in names]
    assert places == sorted(places)
    assert max(map(len, printed.splitlines())) <= int(columns)


def test_every_command_has_its_place_and_its_examples() -> None:
    placed = {name for names in COMMANDS.values() for name in names}
    assert placed == set(GROUP.commands)
    assert set(EXAMPLES) == {"", *every_command()}


def test_headings_name_options_that_there_are() -> None:
    known = {param.name for command in every_command().values() for param in command.params}
    assert {name for names in OPTIONS.values() for name in names} <= known


@pytest.mark.parametrize("line", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_every_example_parses(line: str) -> None:
    program, name, *words = shlex.split(line)
    assert program == "basrelief"
    command = GROUP.commands[name]
    if hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(name, words)
    assert len(line) <= 78


@pytest.mark.parametrize("name", ["study", "train", "predict", "generate scenes"])
def test_help_of_a_command_has_headings_examples_and_no_double_brackets(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, printed, _ = run(capsys, *name.split(), "--help")
    assert code == 0
    assert "Examples:\n  basrelief " in printed
    assert not any(wrong in printed for wrong in ("[[", "{", "...."))
    if name in ("study", "train"):
        for heading in ("Options", "Network and training", "Data", "Depth", "Machine", "While it runs"):
            assert printed.count(f"\n{heading}:\n") == 1
    if name == "study":
        assert "URL" in printed


def complete(shell: str, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    said = {
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_BASRELIEF_COMPLETE": f"complete_{shell}",
        **more,
    }
    command = [sys.executable, "-c", "import sys; from basrelief.cli import main; main()"]
    return subprocess.run(command, env={**os.environ, **said}, capture_output=True, text=True)


def test_a_shell_completes_commands_options_and_values() -> None:
    assert complete("bash", "basrelief comp").stdout.split() == ["compose", "compare"]
    fish = complete("fish", "basrelief train --optimizer a", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert [line.split("\t")[0] for line in fish.stdout.splitlines()] == ["adamw", "adam"]
    assert '"--depth-scale"' in complete("zsh", "basrelief study --depth-s").stdout


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["study", "--recipe"], "purdue-s", ["purdue-shapes"]),
        (["study", "--loss"], "bce(mask) + 2*di", ["bce(mask) + 2*dice"]),
        (["train", "--network"], "mas", ["masknet"]),
        (["train", "--augment"], "flip + rot", ["flip + rotate"]),
        (["train", "--scale"], "s", ["smoke", "small"]),
        (["train", "--device"], "c", ["cpu", "cuda"]),
        (["evaluate", "--metric"], "mask/io", ["mask/iou"]),
        (["list"], "mo", ["models"]),
        (["report", "--to"], "p", ["pdf", "png"]),
        (["export", "--to"], "o", ["onnx"]),
        (["summary"], "re", ["relief", "resunet"]),
    ],
)
def test_values_are_completed(words: list[str], incomplete: str, expected: list[str]) -> None:
    command, *before = words
    parameters = {option: param for param in GROUP.commands[command].params for option in param.opts}
    param = parameters[before[0]] if before else GROUP.commands[command].params[0]
    context = GROUP.commands[command].make_context(command, [], resilient_parsing=True)
    assert [item.value for item in param.shell_complete(context, incomplete)] == expected


@pytest.mark.parametrize(("shell", "part"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --comm")])
def test_each_shell_is_given_a_script(shell: str, part: str) -> None:
    from typer.main import get_command  # as --show-completion does for the shell it is called from

    assert get_command(cli.app) is not None
    try:
        from typer._completion_shared import get_completion_script
    except ImportError:
        pytest.skip("this typer keeps its scripts elsewhere")
    script = get_completion_script(prog_name="basrelief", complete_var="_BASRELIEF_COMPLETE", shell=shell)
    assert part in script
    assert "_BASRELIEF_COMPLETE" in script


def test_what_is_offered_is_what_there_is() -> None:
    from typing import get_args, get_type_hints

    from basrelief import cli_values, config, listing
    from basrelief.metrics import METRICS
    from basrelief.recipes import RECIPES, SCALES

    def names(kind: str) -> list[str]:
        return [line["name"] for line in listing.table(kind)]

    assert set(cli_values.LOSSES) == set(names("losses"))
    assert set(cli_values.AUGMENTATIONS) == set(names("augmentations"))
    assert set(cli_values.METRICS) == {name for name in METRICS if not name.endswith("_pooled")}
    assert set(cli_values.FORMATS) == set(names("formats")) - {"scenes"}
    assert set(cli_values.VALUES["network"]) == {name for name in names("models") if ":" not in name}
    assert set(cli_values.VALUES["schedule"]) == set(names("schedules"))
    assert set(cli_values.VALUES["kind"]) == set(listing.KINDS)
    assert set(cli_values.VALUES["scale"]) == set(SCALES)
    assert set(cli_values.offer("recipe")("")) == set(RECIPES)  # type: ignore[misc]
    hints: dict[str, Any] = {}
    for value in vars(config).values():
        if isinstance(value, type) and value.__module__ == config.__name__:
            hints |= get_type_hints(value)
    for name in ("optimizer", "precision", "executor", "vary", "budget"):
        assert set(cli_values.VALUES[name]) == set(get_args(hints[name])), name


def test_the_page_of_commands_says_what_help_says() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("commands_page", ROOT / "docs" / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "commands.md").read_text() == module.commands_page(), "run python docs/commands.py"
