"""The files of the page: how they come, where they lie, how many there may be, and that no request names another one.

Gradio takes files in as well, but it leaves those that break off in the system's folder, knows no bound for all of
them, and, mounted in another application, reads whatever file of the machine or address a request names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from basrelief.serving.limits import RequestError
from basrelief.serving.page_results import KEEP
from basrelief.serving.service import Service

UPLOAD = "/gradio_api/upload"
MOST_FILES = 2000  # of the page, at once; and
MOST_UPLOADS = 32  # bytes of so many uploads of the largest size
MOST_JSON = 64 << 10  # bytes of a request that is none with files; the page's have a few hundred
_SUFFIXES = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"RIFF", ".webp"), (b"BM", ".bmp"))
_DONE = 'data: {"msg": "done"}\n\n'


class Shelf:
    """A folder of files, each in a folder of its own; what is old goes, and the oldest make room.

    Parameters
    ----------
    folder
        Where they lie; files in ``folder`` itself, such as the examples, stay.
    most_bytes, most_files
        How much there may be at once.
    """

    def __init__(self, folder: Path, most_bytes: int, most_files: int = MOST_FILES) -> None:
        self.folder = folder.resolve()
        self._most_bytes, self._most_files = most_bytes, most_files
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> Path:
        """Write a file and return where it lies."""
        file = Path(tempfile.mkdtemp(dir=self.folder)) / name
        file.write_bytes(data)
        self.make_room()
        return file

    def make_room(self) -> None:
        """Remove what is old, and then the oldest until all is within its bounds; the newest always stays."""
        with self._lock:
            total = count = 0
            found = map(_entry, (one for one in self.folder.iterdir() if one.is_dir()))
            for made, size, files, path in sorted(found, reverse=True):
                total, count = total + size, count + files
                over = total > self._most_bytes or count > self._most_files
                if time.time() - made > KEEP or (over and 0 < files < count):  # 0: is being written
                    shutil.rmtree(path, ignore_errors=True)

    def holds(self, path: object) -> bool:
        """Return whether a path, as a request gives it, leads to a file of this folder, there or not."""
        try:
            return isinstance(path, str) and self.folder in Path(path).resolve().parents
        except (OSError, ValueError):  # too long, or with signs that no path has
            return False


def add_files(app: FastAPI, service: Service, shelf: Shelf) -> None:
    """Add the addresses that the page sends files to."""

    @app.post(UPLOAD, include_in_schema=False, response_model=None)
    async def upload(request: Request) -> list[str] | Response:
        try:
            with service.work.place(), service.uploads.account() as taken:
                files = await service.uploads.read(request, taken, ("files",))
                if "files" not in files:
                    raise RequestError(422, "The form has no file.")
                data = files["files"]
                suffix = next((suffix for start, suffix in _SUFFIXES if data.startswith(start)), ".bin")
                return [str(await asyncio.to_thread(shelf.put, f"upload{suffix}", data))]
        except RequestError as error:
            return PlainTextResponse(error.message, error.status, error.headers)  # as the page shows it

    @app.get(f"{UPLOAD}_progress", include_in_schema=False)
    async def progress() -> Response:
        """Say that there is nothing to wait for: the upload's own answer tells when it is there."""
        return Response(_DONE, media_type="text/event-stream")


def own_files(body: bytes, shelf: Shelf) -> bytes:
    """Return a request's JSON without the addresses of its files, which Gradio might fetch.

    Raises
    ------
    RequestError
        400 no JSON; 403 a file that does not lie on the shelf.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "This is no JSON.") from None
    left: list[Any] = [document]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            one.pop("url", None)
            if one.get("path") is not None:
                if not shelf.holds(one["path"]):
                    raise RequestError(403, "The file was not uploaded here.")
                one["path"] = str(Path(one["path"]).resolve())
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
    return json.dumps(document).encode()


def _entry(folder: Path) -> tuple[float, int, int, Path]:
    """Return when a folder was made, the bytes and the number of its files, and the folder."""
    size = files = 0
    made = time.time()
    with contextlib.suppress(OSError):  # it has gone meanwhile
        made = folder.stat().st_mtime
        for file in folder.iterdir():
            size, files = size + file.stat().st_size, files + 1
    return made, size, files, folder
