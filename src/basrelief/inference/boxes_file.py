"""One COCO document of the boxes of many pictures, that a stopped command can go on with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from basrelief.errors import DataError
from basrelief.files import output_errors, read_json, write_atomic

BOXES = "boxes.json"
_SO_FAR = ".boxes.jsonl"  # a picture a line, until all are there


class BoxesFile:
    """``boxes.json`` in a folder: pictures are added one by one, and it is written when all are there.

    Until then they stand in a hidden file beside it. Pictures of an earlier command stay in.
    """

    def __init__(self, folder: Path, classes: Iterable[str]) -> None:
        self._path, self._so_far = folder / BOXES, folder / _SO_FAR
        self._classes = tuple(classes)
        self._lines: dict[str, str] = {}  # as text, which takes a tenth of the memory
        if self._path.exists():
            for picture in _pictures(read_json(self._path), self._path):
                self._keep(PurePosixPath(picture["file_name"]).with_suffix("").as_posix(), picture)
        if self._so_far.exists():
            for line in self._so_far.read_text("utf-8", "replace").splitlines():
                try:
                    document = json.loads(line)
                    self._keep(document["name"], document["picture"])
                except (ValueError, KeyError, TypeError):  # cut short when the command was killed
                    continue

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def add(self, name: str, picture: Mapping[str, Any]) -> None:
        """Add a picture: ``file_name``, ``width``, ``height`` and ``annotations`` (see ``find_boxes``)."""
        self._keep(name, picture)
        with output_errors(self._so_far), self._so_far.open("a", encoding="utf-8") as file:
            # The first line break ends a line that was cut short.
            file.write(f'\n{{"name": {json.dumps(name)}, "picture": {self._lines[name]}}}\n')

    def finish(self) -> None:
        """Write the document, sorted by file name."""
        write_atomic(self._path, self._write)
        self._so_far.unlink(missing_ok=True)

    def _keep(self, name: str, picture: Mapping[str, Any]) -> None:
        self._lines[name] = json.dumps(picture, separators=(",", ":"), allow_nan=False)

    def _write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.write('{\n"info": {"description": "Connected components, predicted by Basrelief"},\n"images": [')
            _write_lines(file, (image for image, _ in self._numbered()))
            file.write('],\n"categories": ')
            json.dump([{"id": number, "name": name} for number, name in enumerate(self._classes, 1)], file)
            file.write(',\n"annotations": [')
            _write_lines(file, self._annotations())
            file.write("]\n}\n")

    def _numbered(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        for number, name in enumerate(sorted(self._lines), 1):
            picture = json.loads(self._lines[name])
            boxes = picture.pop("annotations")
            yield {"id": number, **picture}, boxes

    def _annotations(self) -> Iterator[dict[str, Any]]:
        number = 0
        for image, boxes in self._numbered():
            for box in boxes:
                number += 1
                yield {"id": number, "image_id": image["id"], **box}


def _pictures(document: Mapping[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    try:
        boxes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
        for box in document["annotations"]:
            boxes[box["image_id"]].append({key: box[key] for key in box if key not in ("id", "image_id")})
        for image in document["images"]:
            own = {key: image[key] for key in ("file_name", "width", "height")}
            yield {**own, "annotations": boxes[image["id"]]}
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not as Basrelief wrote it ({error!r}). Remove it.") from None


def _write_lines(file: IO[str], documents: Iterable[Mapping[str, Any]]) -> None:
    comma = ""
    for document in documents:
        file.write(f"{comma}\n")
        json.dump(document, file, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        comma = ","
