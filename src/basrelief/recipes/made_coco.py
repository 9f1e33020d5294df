"""Made data of write-up D's second experiment: photographs of three kinds of objects, outlined as COCO comes.

Each picture is one of the generated scenes, seen at COCO's usual size; its figure bears the name of a category, which
shows in nothing else (all three share one plane of the mask). As in COCO, some pictures do not fit what is asked: two
instances, an instance that is small, or none of the three categories. They are made beside those that fit, so that
choosing has something to do.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from basrelief.data.outlines import extent_of_runs, runs_of
from basrelief.data.scenes import SCENES_PER_ROOM, make_scene
from basrelief.errors import MissingExtraError
from basrelief.seeding import stream, stream_seed

CATEGORIES = {4: "motorcycle", 18: "dog", 61: "cake"}  # with COCO's own numbers
OTHER = (62, "chair")
HEIGHT, WIDTH = 480, 640
LEAST = 200  # a side of the box of an instance that fits, as in the write-up
_TWO, _OTHER = 0.1, 0.05  # shares of the pictures
_QUALITY = 90  # of the JPEG


class _Drawn(NamedTuple):
    """A picture and its instances: (category, mask as bool (H, W)) each."""

    image: np.ndarray
    instances: list[tuple[int, np.ndarray]]

    @property
    def fits(self) -> bool:
        """Whether there is one instance of the three categories, and it is large enough."""
        if len(self.instances) != 1 or self.instances[0][0] not in CATEGORIES:
            return False
        return bool(min(extent_of_runs(runs_of(self.instances[0][1]))[2:]) >= LEAST)


def make_objects(folder: Path, progress: Callable[[int, int], None], *, train: int, test: int, seed: int) -> None:
    """Write ``train`` pictures that fit and ``test`` more, with those that do not beside them.

    The files are named as COCO's: ``annotations/instances_train2017.json`` with ``train2017/``, and
    ``annotations/instances_test2017.json`` with ``test2017/``.

    Raises
    ------
    MissingExtraError
        Without pycocotools, which reads them: better said before minutes of drawing.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise MissingExtraError("pycocotools", "coco", "Reading COCO data")
    (folder / "annotations").mkdir()
    for split, count, before in (("train", train, 0), ("test", test, train)):
        name = f"{split}2017"
        (folder / name).mkdir()
        document: dict[str, Any] = {"images": [], "annotations": []}
        document["categories"] = [{"id": number, "name": word} for number, word in (*CATEGORIES.items(), OTHER)]
        done = 0
        for number, drawn in _drawn(stream_seed(seed, f"coco-objects {split}") % 2**31):
            file = f"{number:012d}.jpg"
            Image.fromarray(drawn.image).save(folder / name / file, quality=_QUALITY)
            document["images"].append({"id": number, "file_name": file, "height": HEIGHT, "width": WIDTH})
            for category, mask in drawn.instances:
                own = {"id": len(document["annotations"]) + 1, "image_id": number, "category_id": category}
                document["annotations"].append({**own, "iscrowd": 0, **describe(mask)})
            done += drawn.fits
            progress(before + done, train + test)
            if done == count:
                break
        text = json.dumps(document, separators=(",", ":"))
        (folder / "annotations" / f"instances_{name}.json").write_text(text, encoding="utf-8")


def _drawn(seed: int) -> Iterator[tuple[int, _Drawn]]:
    """Yield numbered pictures without end, several drawn at once."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        start = 1
        while True:
            numbers = range(start, start + 2 * workers)
            yield from zip(numbers, pool.map(lambda number: _draw(seed, number), numbers), strict=True)
            start = numbers.stop


def _draw(seed: int, number: int) -> _Drawn:
    rng = stream(seed, "coco-objects picture", number)
    chance, known = rng.random(), list(CATEGORIES)
    scene = make_scene(seed, number * SCENES_PER_ROOM, HEIGHT, WIDTH)  # each in a room of its own
    mask = scene.mask.astype(bool)
    if chance < _OTHER:
        return _Drawn(scene.image, [(OTHER[0], mask)])
    instances = [(known[rng.integers(len(known))], mask)]
    if chance >= _OTHER + _TWO:
        return _Drawn(scene.image, instances)
    second = make_scene(seed, number * SCENES_PER_ROOM + 1, HEIGHT, WIDTH)  # another figure in the same room
    nearer = second.mask.astype(bool) & ((second.depth < scene.depth) | ~mask)
    instances = [(instances[0][0], mask & ~nearer), (known[rng.integers(len(known))], nearer)]
    image = np.where(nearer[..., None], second.image, scene.image)
    return _Drawn(image, [(category, part) for category, part in instances if part.any()])


def describe(mask: np.ndarray) -> dict[str, Any]:
    """Return segmentation, box and area of a mask, bool (H, W): a polygon where one will do, else run lengths."""
    runs = runs_of(mask)
    facts = {"bbox": list(extent_of_runs(runs)), "area": int(mask.sum())}
    whole = ndimage.label(mask)[1] == 1 and ndimage.label(np.pad(~mask, 1, constant_values=True))[1] == 1
    if whole:
        return {"segmentation": [_trace(mask)], **facts}
    return {"segmentation": {"size": list(mask.shape), "counts": runs.lengths.tolist()}, **facts}


def _trace(mask: np.ndarray) -> list[int]:
    """Return the outline of a figure in one piece without holes: x and y in turn, along the edges of its pixels."""
    after: dict[tuple[int, int], tuple[int, int]] = {}
    padded = np.pad(mask, 1)
    for (down, right), begin, end in (  # clockwise: the neighbour beyond an edge, and the edge's corners as (x, y)
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    ):
        beyond = padded[1 + down : 1 + down + mask.shape[0], 1 + right : 1 + right + mask.shape[1]]
        for y, x in np.argwhere(mask & ~beyond).tolist():
            after[x + begin[0], y + begin[1]] = (x + end[0], y + end[1])
    first = at = min(after)
    outline: list[int] = []
    was = (0, 0)
    while not outline or at != first:
        (x, y), then = at, after[at]
        step = (then[0] - x, then[1] - y)
        if step != was:  # corners alone
            outline += [x, y]
        at, was = then, step
    return outline
