"""Where the command line begins: Ctrl-C is answered in words even while it is being imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Stands where the command line would be looked for, and sends the signal at that moment.
INTERRUPTED = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "basrelief.cli":
            os.kill(os.getpid(), getattr(signal, {number!r}))
        return None

sys.meta_path.insert(0, Interrupter())
sys.argv = ["basrelief", *{words!r}]
from basrelief.__main__ import main
main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("words", [["list", "losses"], ["list", "losses", "--json"]])
def test_a_signal_while_the_command_line_is_imported_ends_in_one_message(number: str, words: list[str]) -> None:
    script = INTERRUPTED.format(number=number, words=words)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stderr == "basrelief: Stopped before anything was begun.\n"
    assert ended.returncode == 1
    if "--json" in words:
        assert json.loads(ended.stdout) == {"error": "Stopped before anything was begun."}
    else:
        assert not ended.stdout


def test_nothing_large_is_imported_before_signals_are_answered() -> None:
    script = "import sys; before = set(sys.modules); import basrelief.__main__; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"typer", "click", "basrelief.cli", "basrelief.errors", "json"} & set(loaded), loaded


def test_the_package_itself_is_a_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "basrelief", "nonsense"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "Usage: basrelief" in ended.stderr
