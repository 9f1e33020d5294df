"""Attacks led by coverage: atheris changes good files towards branches that no file has reached yet.

The short form is 200 files each; the long form goes on for ``MINUTES`` minutes each. A file that takes more
memory or time than stated, or ends in anything but our own refusal, stays where the message says.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from basrelief.data.purdue_write import write_purdue_shapes

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
MINUTES = 6
MEGABYTES = 1500  # of a process that has NumPy and polars loaded
pytestmark = pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")


def shapes_seeds(folder: Path) -> None:
    """Write good files: as generated, by each protocol of pickle, and small ones."""
    write_purdue_shapes(folder / "x-train.gz", 1)
    whole = (folder / "x-train.gz").read_bytes()
    (folder / "x-train.gz").unlink()
    (folder / "compressed").write_bytes(b"\xff" + whole)
    (folder / "inside").write_bytes(b"\x00" + gzip.decompress(whole))
    labels = {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}
    sample = [[0] * 4096] * 3 + [np.zeros((5, 64, 64), np.uint8), {50: [[0, 0, 1, 1]]}]
    for protocol in range(6):
        (folder / f"protocol-{protocol}").write_bytes(b"\x00" + pickle.dumps(({0: sample}, labels), protocol))
        (folder / f"small-{protocol}").write_bytes(
            b"\x00" + pickle.dumps(([[1, "a", b"b", 2.5, None]], labels), protocol)
        )


def zip_seeds(folder: Path) -> None:
    """Write good archives: stored, compressed, with folders, a comment, 64-bit fields, and many members."""
    for number, kind in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", kind) as archive:
            archive.comment = b"c" * number
            for i in range(1 + 3 * number):
                archive.writestr(f"a/{i}.png", bytes(50 * i))
            with archive.open(zipfile.ZipInfo("b/64.png"), "w", force_zip64=True) as member:
                member.write(b"x" * 20)
        (folder / f"{number}.zip").write_bytes(stream.getvalue())
    (folder / "empty.zip").write_bytes(b"PK\5\6" + bytes(18))


TARGETS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "purdue-shapes": ("purdue_target.py", shapes_seeds),
    "zip": ("zip_target.py", zip_seeds),
}


@pytest.mark.parametrize("name", TARGETS)
def test_no_changed_file_gets_past_the_reader(name: str, tmp_path: Path, is_long: bool) -> None:
    program, write_seeds = TARGETS[name]
    seeds, found = tmp_path / "seeds", tmp_path / "found"
    seeds.mkdir()
    found.mkdir()
    write_seeds(seeds)
    length = f"-max_total_time={60 * MINUTES}" if is_long else "-runs=200"
    words = [length, "-seed=8", "-timeout=20", f"-rss_limit_mb={MEGABYTES}", f"-malloc_limit_mb={MEGABYTES}"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / program), str(found), str(seeds), *words, f"-artifact_prefix={tmp_path}/"],
        env=environment, capture_output=True, text=True, errors="replace", timeout=60 * MINUTES + 120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done " in done.stderr, done.stderr[-3000:]
    print([line for line in done.stderr.splitlines() if line.startswith(("Done", "#"))][-2:])
