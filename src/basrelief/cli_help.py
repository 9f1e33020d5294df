"""How ``--help`` is laid out: commands in the order one meets them, options under headings, examples at the end.

Plain text through typer's own formatter; rich would have to be loaded first, and help is to be there at once.
"""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from basrelief.cli_examples import EXAMPLES

# Heading -> commands, in the order one meets them.
COMMANDS: dict[str, tuple[str, ...]] = {
    "Data": ("inspect", "compose", "generate", "pack"),
    "Which loss": ("study", "report"),
    "Training": ("train", "lr-range"),
    "Trained networks": ("evaluate", "compare", "predict", "export", "serve"),
    "About": ("list", "summary", "doctor", "demo"),
}
# Heading -> options. What stands in none of these, or under a heading with less than FEWEST, is among "Options".
FEWEST = 3
OPTIONS: dict[str, tuple[str, ...]] = {
    "What is compared": ("loss", "seeds", "folds", "margin", "vary", "race", "budget", "minutes"),
    "A study that is there": ("status", "add_seeds", "add_loss"),
    "Rates": ("lr_min", "lr_max", "steps", "repeats"),
    "Network and training": (
        *("network", "resolution", "epochs", "batch_size", "accumulate", "lr", "optimizer", "momentum"),
        *("weight_decay", "decay_all", "schedule", "clip", "ema", "patience", "augment", "activation", "mask_values"),
        *("weights", "freeze", "metric", "seed"),
    ),
    "Data": (
        *("format", "mask_map", "invert_masks", "categories", "single_instance", "min_box", "background"),
        *("split", "group_blocks", "group_file", "limit", "skip_broken"),
    ),
    "Depth": ("depths", "teacher", "depth_scale", "depth_unit", "depth_kind", "depth_invalid", "depth_max"),
    "Machine": (
        *("device", "precision", "compile", "deterministic", "threads", "workers", "processes", "jobs", "executor"),
        "address",
    ),
    "While it runs": ("checkpoint_every", "log_every", "tracker"),
}


class HelpCommand(TyperCommand):
    """A command whose options stand under headings, with examples below them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line: DATA where it is needed, [DATA] where it may be left out."""
        return [_plain(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options by heading."""
        arguments: list[tuple[str, str]] = []
        sections: dict[str, list[tuple[int, int, tuple[str, str]]]] = {}
        heading = {name: (title, place) for title, names in OPTIONS.items() for place, name in enumerate(names)}
        for number, param in enumerate(self.get_params(ctx)):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                arguments.append((_plain(" ".join(param.get_usage_pieces(ctx))), record[1]))
            else:
                title, place = heading.get(str(param.name), ("Options", 0))
                sections.setdefault(title, []).append((place, number, record))
        for title in [title for title, records in sections.items() if len(records) < FEWEST and title != "Options"]:
            sections["Options"] += [(0, number, record) for _, number, record in sections.pop(title)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        for title in [title for title in ("Options", *OPTIONS) if title in sections]:
            with formatter.section(title):
                formatter.write_dl([record for *_, record in sorted(sections[title])])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on its own line, so that it can be copied."""
        _write_examples(EXAMPLES.get(_words(ctx), ()), formatter)


class HelpGroup(TyperGroup):
    """The program itself, or a command of several: its commands under headings."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order of ``COMMANDS``."""
        names = [name for group in COMMANDS.values() for name in group]
        there = super().list_commands(ctx)
        return [*(name for name in names if name in there), *(name for name in there if name not in names)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings, each with its first sentence."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        wide = max(map(len, commands))
        said = {
            name: (name.ljust(wide), command.get_short_help_str(formatter.width - 6 - wide))
            for name, command in commands.items()
            if command is not None and not command.hidden
        }
        for title, names in COMMANDS.items():
            if rows := [said.pop(name) for name in names if name in said]:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if said:
            with formatter.section("Commands"):
                formatter.write_dl(list(said.values()))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write where to go on."""
        _write_examples(EXAMPLES.get(_words(ctx), ()), formatter)


def lay_out(app: typer.Typer) -> None:
    """Give every command of ``app``, and of the groups in it, this layout."""
    app.info.cls = HelpGroup
    for command in app.registered_commands:
        command.cls = HelpCommand
    for group in app.registered_groups:
        if group.name:
            group.cls = HelpGroup
        if group.typer_instance is not None:
            lay_out(group.typer_instance)


def _words(ctx: Any) -> str:
    """Return a command as one types it, without the program's name."""
    return str(ctx.command_path).partition(" ")[2]


def _write_examples(examples: tuple[str, ...], formatter: Any) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def _plain(piece: str) -> str:
    """Return ``DATA`` for ``{DATA}`` and ``<DATA>``, ``[DATA]`` for ``[[DATA]]``; ``INPUT...`` has three dots."""
    bare = re.sub(r"[{}]", "", piece).replace("[[", "[").replace("]]", "]")
    return re.sub(r"\.{4,}", "...", bare)
