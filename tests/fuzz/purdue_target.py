"""A program for atheris: whatever bytes it is given, the reader of PurdueShapes5MultiObject refuses or reads them.

Run by ``test_coverage_guided.py`` as ``python purdue_target.py CORPUS -runs=N -rss_limit_mb=M``; the first byte chooses
whether the rest is a compressed file or the pickle inside one, since a random change of a compressed file rarely gets
past its checksum.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["basrelief.data.plain", "basrelief.data.purdue"]):
    from basrelief.data import plain_input, plain_pickle, purdue_file
    from basrelief.data.decode import FileError

FILE = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))) / "x.gz"


def attack(data: bytes) -> None:
    """Read what the bytes say."""
    whole = data[1:]
    FILE.write_bytes(gzip.compress(whole, 1) if data[:1] < b"\x80" else whole)
    try:
        found = purdue_file.read_shapes_file(FILE)
    except FileError as error:
        assert str(FILE) in str(error)  # noqa: PT017
        return
    assert found.images.shape == (len(found.keys), 3, 64, 64)
    for row in range(len(found.keys)):
        assert row in found.broken or found.masks[row].shape == (5 * 64 * 64 // 8,)


if __name__ == "__main__":
    # The limits are the product's own, made smaller, so that reaching one is quick and passing one is seen.
    plain_input.MAX_READ = 64 << 20
    plain_pickle.MAX_KEPT = 64 << 20
    plain_pickle.MAX_STEPS = 200_000
    atheris.Setup(sys.argv, attack)
    atheris.Fuzz()
