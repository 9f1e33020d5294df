"""A program for atheris: whatever bytes a zip archive consists of, it is refused, or its members are read as stated.

Run by ``test_coverage_guided.py`` as ``python zip_target.py CORPUS -runs=N -rss_limit_mb=M``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["basrelief.data.archive", "zipfile"]):
    from basrelief.data import archive
    from basrelief.data.decode import FileError
    from basrelief.errors import DataError

FILE = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))) / "x.zip"
archive.MAX_MEMBER = 32 << 20


def attack(data: bytes) -> None:
    """List and read what the bytes hold."""
    FILE.write_bytes(data)
    faults: list[object] = []
    try:
        members = archive.list_archive(FILE, faults)  # type: ignore[arg-type]
    except DataError as error:
        assert str(FILE) in str(error)  # noqa: PT017
        return
    for member in members[:50]:
        assert ".." not in member.inside.split("/")
        assert not member.inside.startswith("/")
        try:
            content = member.fetch()
        except FileError as error:
            assert str(member) in str(error)  # noqa: PT017
        else:
            assert len(content.data) <= archive.MAX_MEMBER
    for fault in faults:
        str(fault)


if __name__ == "__main__":
    atheris.Setup(sys.argv, attack)
    atheris.Fuzz()
