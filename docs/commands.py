"""Write commands.md from the command line itself, so that page and --help agree: python docs/commands.py."""

from pathlib import Path
from typing import Any

import typer

from basrelief.cli import app

WIDTH = 100
HEAD = """# Commands

Made from `basrelief COMMAND --help` by `python docs/commands.py`.

Every command takes `--json` (one document on standard output, everything else on standard error) and ends with exit
code 0, 1 (it could not be done, and one message says why) or 2 (wrong usage).

**Completion.** `basrelief --install-completion` teaches the shell it is called from (bash, zsh, fish, PowerShell) to
complete commands, options, and the values that are words of a list: losses, also inside a sum in quotes, networks,
metrics, recipes, devices and so on. It writes a file below the home folder and names it; start a new shell afterwards.
`basrelief --show-completion` prints the script instead.
"""


def commands_page() -> str:
    """Return ``docs/commands.md``."""
    group: Any = typer.main.get_command(app)
    lines = [HEAD, "## basrelief", "", "```text", _help(group, "basrelief"), "```"]
    with group.make_context("basrelief", [], resilient_parsing=True, terminal_width=WIDTH) as context:
        for name in group.list_commands(context):
            command = group.commands[name]
            parts = {name: command} | {
                f"{name} {inner}": line for inner, line in getattr(command, "commands", {}).items()
            }
            for title, part in parts.items():
                lines += ["", f"## {title}", "", "```text", _help(part, f"basrelief {title}"), "```"]
    return "\n".join([*lines, ""])


def _help(command: Any, name: str) -> str:
    with command.make_context(name, [], resilient_parsing=True, terminal_width=WIDTH) as context:
        context.help_option_names = ["-h", "--help"]
        return "\n".join(line.rstrip() for line in command.get_help(context).rstrip().splitlines())


def main() -> None:
    """Write the page."""
    (Path(__file__).parent / "commands.md").write_text(commands_page())


if __name__ == "__main__":
    main()
