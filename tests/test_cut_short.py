from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

READ_BEYOND = """
import mmap, os, sys
from pathlib import Path
from basrelief import cut_short
path = Path(sys.argv[1])
if sys.argv[2] == "ours":
    cut_short.answer_cuts()
with path.open("r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
    cut_short.watch_file(path)
    os.truncate(path, 0)
    mapped[5000]
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system's answer stays")
@pytest.mark.parametrize("whose", ["ours", "another's"])
def test_a_file_cut_short_is_answered_in_our_own_processes_and_in_no_others(whose: str, tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(bytes(10_000))
    ended = subprocess.run([sys.executable, "-c", READ_BEYOND, path, whose], capture_output=True, text=True, timeout=60)
    if whose == "ours":
        assert ended.returncode == 1
        assert f"{path} was cut short" in ended.stderr
    else:
        assert ended.returncode == -signal.SIGBUS
        assert not ended.stderr
