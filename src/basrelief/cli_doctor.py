"""The command that looks whether Basrelief can work here. It prints plainly, since rich may be what is missing."""

from __future__ import annotations

import shutil
import textwrap
from typing import Annotated, Any

import typer

from basrelief.cli_options import Json, give

app = typer.Typer()


@app.command()
def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", "--no-speed", help="Do not measure speeds, which takes seconds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is installed here, what is missing, and how fast it is.

    Ends with exit code 1 where something that training needs is missing or broken.
    """
    from basrelief.app_doctor import doctor as look

    found = look(speeds=not quick)
    give(found, as_json, _say)
    if not found["healthy"]:
        raise typer.Exit(1)


def _say(found: dict[str, Any]) -> None:
    versions = ", ".join(f"{name} {version or 'missing'}" for name, version in found["versions"].items())
    _section("Versions", [versions])
    _section("Devices", [_device(line) for line in found["devices"]])
    _section("Around", _around(found["surroundings"]))
    if found["speeds"] is not None:
        _section("Speeds", [_speed(line) for line in found["speeds"].values()])
    _section("Extras", [_extra(line) for line in found["extras"]])
    if found["findings"]:
        _section("What to do", [f"{finding['what']}\n{finding['do']}" for finding in found["findings"]])
    typer.echo("Basrelief can work here." if found["healthy"] else "Basrelief cannot train here before that is mended.")


def _section(title: str, lines: list[str]) -> None:
    """Print lines as wide as the terminal is; what follows a line's own break stands below it, indented."""
    width = max(40, shutil.get_terminal_size().columns)
    typer.echo(title)
    for line in lines:
        for number, part in enumerate(line.split("\n")):
            before = "  " if number == 0 else "    "
            wrapped = textwrap.wrap(
                part,
                width,
                initial_indent=before,
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            typer.echo("\n".join([part] if part.startswith("pip ") and len(wrapped) > 1 else wrapped))
    typer.echo("")


def _device(line: dict[str, Any]) -> str:
    memory = f", {_size(line['memory'])}" if line["memory"] else ""
    name = f" {line['name']}" if line["name"] else ""
    why = "" if line["usable"] else f" not usable: {line['why']}"
    return f"{line['device']}:{name}{memory}{why}"


def _around(facts: dict[str, Any]) -> list[str]:
    limit = facts["memory_left_in_container"]
    unknown = "unknown"
    fonts = unknown if facts["fonts"] is None else facts["fonts"]
    allowed, threads = facts["cores_allowed"] or unknown, facts["threads"] or unknown
    lines = [
        facts["platform"],
        f"cores: {facts['cores']}, allowed {allowed}, threads used {threads}",
        f"load in the last minute: {unknown if facts['load'] is None else format(facts['load'], '.1f')} processes",
        f"memory: {_size(facts['memory'])}, free {_size(facts['memory_available'])}"
        + ("" if limit is None else f", of which the container allows {_size(limit)} more"),
        f"disk of {facts['folder']}: {_size(facts['disk_free'])} free{'' if facts['writable'] else ', not writable'}",
        f"open files: at most {facts['open_files'] or unknown}",
        f"browser for PDF: {facts['browser'] or 'none'}; fonts: {fonts}",
    ]
    if facts["shared_memory"] is not None:
        lines.append(f"/dev/shm: {_size(facts['shared_memory'])} free")
    return lines


def _speed(line: dict[str, Any]) -> str:
    value = "not measured" if line["value"] is None else f"{line['value']:,.0f} {line['unit']}"
    why = "" if line["why"] is None else f" ({line['why']})"
    return f"{value}: {line['what']}{why}"


def _extra(line: dict[str, Any]) -> str:
    if line["installed"]:
        return f"{line['name']}: installed ({line['purpose']})"
    wrong = ", ".join(f"{package['name']} {package['why']}" for package in line["packages"] if package["why"])
    return f"{line['name']}: {wrong}; needed for {line['purpose']}\n{line['install']}"


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"
