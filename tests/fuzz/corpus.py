"""Inputs made to do harm, each written by a function when it is needed: HOSTILE, name -> (kind, writer).

The kind says which commands take it. A writer is given an empty folder and returns what the command is given.
"""

# ruff: noqa: E501
from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from hostile import hostile, laden, png, saved
from networks import saved as saved_network
from support import make_quartets, write_folder, write_quartets_a, write_quartets_c

Writer = Callable[[Path], Path]


class Evil:
    """What pickle would make a call of."""

    def __reduce__(self) -> object:
        return os.system, ("touch executed",)


def encode(picture: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    """Return a picture as a file."""
    stream = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(stream, kind, **options)
    return stream.getvalue()


def npy(header: bytes | str, data: bytes = b"", version: int = 1) -> bytes:
    """Return a .npy file with a header as given."""
    text = header if isinstance(header, bytes) else header.encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def array(value: np.ndarray, **options: bool) -> bytes:
    """Return an array as .npy."""
    stream = io.BytesIO()
    np.save(stream, value, **options)
    return stream.getvalue()


def archive(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


GREY = np.zeros((24, 32), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
SHAPE = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"
PICTURES: dict[str, tuple[str, bytes]] = {
    **{name: ("png", data) for name, (data, _) in hostile().items()},
    **{name: ("png", data) for name, data in laden().items()},
    "cmyk": ("jpg", encode(Image.new("CMYK", (32, 24)), "JPEG")),
    "16 bit": ("png", encode(GREY.astype(np.uint16), "PNG")),
    "32 bit": ("tif", encode(GREY.astype(np.int32), "TIFF")),
    "float with nan": ("tif", encode(np.full((24, 32), np.nan, np.float32), "TIFF")),
    "palette": ("png", encode(Image.fromarray(GREY).convert("P"), "PNG")),
    "1 x 1": ("png", png(1, 1)), "30000 x 1": ("png", png(30_000, 1)), "1 x 30000": ("png", png(1, 30_000)),
    "exif of letters": ("jpg", encode(NOISE, "JPEG", exif=b"Exif\0\0" + b"A" * 500)),
    "profile of letters": ("png", encode(NOISE, "PNG", icc_profile=b"B" * 500)),
    "exr of letters": ("exr", b"\x76\x2f\x31\x01" + b"A" * 100),
    "tiff whose directory is itself": ("tif", b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0"),
    "tiff of 65535 tags": ("tif", b"II*\0\x08\0\0\0\xff\xff" + b"\1" * 200),
    "pfm of 10^9": ("pfm", b"Pf\n1000000000 1000000000\n-1.0\n"), "pfm of letters": ("pfm", b"Pf\nx y\n-1\n"),
    "pfm scale 0": ("pfm", b"Pf\n32 24\n0\n" + bytes(4 * 768)), "pfm without end": ("pfm", b"Pf\n" + b" " * 100_000),
    "ppm of 10^9": ("ppm", b"P6\n1000000000 1000000000\n255\n"), "ppm of many digits": ("ppm", b"P6\n" + b"9" * 10_000),
    "npy pickled": ("npy", array(np.array([Evil()], dtype=object), allow_pickle=True)),
    "npy of 10^12": ("npy", npy(SHAPE % ("<f4", "(1000000, 1000000)"))),
    "npy of 2^63": ("npy", npy(SHAPE % ("<f4", f"({2**63}, {2**63})"))), "npy negative": ("npy", npy(SHAPE % ("<f4", "(-1, 5)"))),
    "npy header calls": ("npy", npy("__import__('os').system('touch executed')\n")), "npy header deep": ("npy", npy("(" * 3_000)),
    "npy header 4 GB": ("npy", b"\x93NUMPY\2\0\xff\xff\xff\xff"), "npy version 9": ("npy", npy(SHAPE % ("<f4", "(2, 2)"), version=9)),
    "npy fortran": ("npy", array(np.asfortranarray(NOISE))), "npy of text": ("npy", array(np.array([["a" * 100] * 32] * 24))),
    "npy of dates": ("npy", array(np.zeros((24, 32), "M8[s]"))), "npy complex": ("npy", array(np.zeros((24, 32), complex))),
    "npy five axes": ("npy", array(np.zeros((1, 1, 24, 32, 1)))), "npy no axes": ("npy", array(np.array(1.0))), "npy empty": ("npy", array(np.zeros((0, 32)))),
    "npy infinite": ("npy", array(np.full((24, 32), np.inf, np.float32))),
    "npz": ("npz", archive({"a.npy": array(GREY), "../b.npy": array(GREY)})), "npz of letters": ("npz", b"PK\3\4" + b"A" * 60),
    "npz bomb": ("npz", archive({"a.npy": npy(SHAPE % ("|u1", "(40000, 40000)"), bytes(50 << 20))})),
}  # fmt: skip


def in_place(place: str, name: str, root: Path) -> Path:
    """Write a folder with one bad picture among four."""
    data = write_folder(root / "data", 4, depths=True)
    suffix, content = PICTURES[name]
    (data / place / "01.png").unlink()
    (data / place / f"01.{suffix}").write_bytes(content)
    return data


def alone(name: str, root: Path) -> Path:
    """Write one picture."""
    suffix, content = PICTURES[name]
    (root / f"photo.{suffix}").write_bytes(content)
    return root / f"photo.{suffix}"


def file(name: str, content: bytes, root: Path) -> Path:
    """Write a file beside good pictures, and return it."""
    data = write_folder(root / "data", 4, depths=True)
    (data / name).write_bytes(content)
    return data / name


def beside(name: str, content: bytes, root: Path) -> Path:
    """Write a file beside good pictures, and return the folder."""
    return file(name, content, root).parent


def named(name: bytes, root: Path) -> Path:
    """Write a folder whose second image has a name."""
    data = write_folder(root / "data", 4)
    for plane in ("images", "masks"):
        os.rename(os.fsencode(data / plane / "01.png"), os.fsencode(data / plane) + b"/" + name + b".png")  # noqa: PTH104
    return data


def special(make: Callable[[Path], object], root: Path) -> Path:
    """Write a folder, and change it."""
    data = write_folder(root / "data", 4)
    make(data)
    return data


def lists(layout: Callable[..., Path], name: str, content: bytes, root: Path) -> Path:
    """Write quartets whose list is another."""
    data = layout(root / "data", make_quartets())
    (data / name).write_bytes(content)
    return data


def damaged(name: str, content: bytes, root: Path) -> Path:
    """Write a saved network with one file changed."""
    folder = saved_network(root / "net")
    (folder / name).write_bytes(content)
    return folder


def run_with(name: str, content: bytes, root: Path) -> Path:
    """Write a folder that holds one file of a run or study."""
    (root / "run").mkdir()
    (root / "run" / name).write_bytes(content)
    return root / "run"


def flagged(data: bytes) -> bytes:
    """Return an archive whose members say that they are encrypted."""
    return data.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0")


def link_member() -> bytes:
    """Return an archive with a symbolic link."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        info = zipfile.ZipInfo("images/x.png")
        info.external_attr = 0o120777 << 16
        made.writestr(info, "/etc/passwd")
    return stream.getvalue()


ZIPS = {
    "slip": archive({"../../x.png": b"x"}), "absolute": archive({"/etc/x.png": b"x"}), "link": link_member(),
    "bomb": archive({"images/x.png": bytes(60 << 20)}), "nested": archive({"a.zip": archive({"b.zip": archive({"c.png": b"x"})})}),
    "encrypted": flagged(archive({"images/x.png": saved("PNG")})), "empty": archive({}), "cut": archive({"images/x.png": saved("PNG")})[:-30],
    "letters": b"PK\3\4" + b"A" * 500, "wrong sizes": archive({"images/x.png": saved("PNG")}).replace(struct.pack("<L", len(saved("PNG"))), struct.pack("<L", 1)),
    "bad text": archive({"images/x.png": b"x", "labels.txt": b"\xff\xfe"}), "nameless": archive({"?": b"x"}).replace(b"?", b"\0"),
    "script": archive({"images/<script>.png": saved("PNG"), "masks/<script>.png": saved("PNG")}),
    "many": archive({f"images/{i}.png": b"" for i in range(3_000)}),
}  # fmt: skip
TABLES = {
    "empty": b"", "one column": b"image\n", "nul": b"image,mask\nimages/00.png,\0\n", "no utf-8": b"image,mask\n\xff\xfe,\xff\n",
    "quotes": b'image,mask\n"images/00.png,masks/00.png\n', "long line": b"image,mask\n" + b"a" * 1_000_000, "columns": b"image," + b"x," * 50_000,
    "twice": b"image,image\na,b\n", "devices": b"image,mask\n/dev/zero,/dev/zero\n", "parents": b"image,mask\n../../../etc/passwd,x\n", "formula": b"image,mask\n=cmd()|'x',y\n",
    "script": b"image,mask,group\n<script>alert(1)</script>.png,masks/00.png,<b>\n", "ragged": b"image,mask\na,b,c,d\n", "folder": b"image,mask\nimages,masks\n",
    "names": b"image,mask\n" + b"x" * 5_000 + b",y\n",
}  # fmt: skip
DEEP = b"[" * 100_000
OBJECTS = {
    "deep": DEEP, "list": b"[]", "null": b"null", "nan": b'{"images": NaN, "version": NaN}', "digits": b'{"version": ' + b"9" * 10_000 + b"}", "no utf-8": b"\xff\xfe{",
    "surrogate": b'{"images": [{"id": 1, "file_name": "\\ud800.png"}], "annotations": [], "categories": [], "format": "\\ud800"}',
    "twice": b'{"images": [], "images": {}, "annotations": 1}', "cut": b'{"images": [', "types": b'{"images": {"a": 1}, "annotations": "x", "categories": 5, "format": []}',
    "ids": b'{"images": [{"id": [1], "file_name": 5, "width": -1, "height": 1e400}], "annotations": [{"image_id": {}}], "categories": []}',
    "path": b'{"images": [{"id": 1, "file_name": "../../../../etc/passwd", "width": 1, "height": 1}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}], "categories": [{"id": 1, "name": "a"}]}',
}  # fmt: skip
YAMLS = {
    "call": b"!!python/object/apply:os.system ['touch executed']", "tag": b"names: !!bool x", "laughs": b"\n".join([b"a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]".encode() for i in range(1, 12))]),
    "merges": b"\n".join([b"a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}".encode() for i in range(1, 9))]),
    "deep": DEEP, "self": b"names: &a [*a]", "nul": b"names: \0", "base 60": b"names: 1" + b":1" * 9_000, "date": b"names: 0000-01-01", "nan": b"names: {.nan: .nan}",
    "keys": b"? {a: 1}\n: 1", "twice": b"names: [a]\nnames: {0: b}", "surrogate": b'names: ["\\ud800"]', "huge": b"names: {999999999999999999999999: x}",
}  # fmt: skip
NAMES = {
    "line end": b"a\nb", "quote": b"a'\"b", "script": b"<script>alert(1)<", "dash": b"--help", "right to left": "\u202egnp.exe".encode(), "251 bytes": b"n" * 251, "no utf-8": b"caf\xe9",
    "escape": b"\x1b[2J", "percent": b"%s%n%00", "format": b"{0.__class__}", "dollar": b"$(touch executed)", "markup": b"[red]x[/red]", "dots": b"...", "tab": b"a\tb", "star": b"*",
}  # fmt: skip
PLACES: dict[str, Writer] = {
    "pipe": partial(special, lambda d: os.mkfifo(d / "images/pipe.png")), "pipe as yaml": partial(special, lambda d: os.mkfifo(d / "data.yaml")),
    "pipe as facts": partial(special, lambda d: os.mkfifo(d / "basrelief.json")), "pipe as table": partial(special, lambda d: os.mkfifo(d / "samples.csv")),
    "device": partial(special, lambda d: (d / "masks/zero.png").symlink_to("/dev/zero")), "self": partial(special, lambda d: (d / "images/self").symlink_to("self")),
    "circle": partial(special, lambda d: (d / "images/up").symlink_to("..")), "dangling": partial(special, lambda d: (d / "masks/04.png").symlink_to("nowhere")),
    "folder as file": partial(special, lambda d: (d / "images/05.png").mkdir()), "file as folder": partial(special, lambda d: (d / "depths").write_bytes(b"x")),
    "hidden": partial(special, lambda d: (d / "images/.00.png").write_bytes(b"x")), "no images": lambda r: r, "only a file": lambda r: file("x.txt", b"x", r),
    "not there": lambda r: r / "nowhere", "nul": lambda r: r / "a\0b", "too long": lambda r: r / ("a" * 5_000),
}  # fmt: skip
EVIL = pickle.dumps(Evil())
WEIGHTS = {
    "pickle": EVIL, "empty": b"", "huge header": struct.pack("<Q", 2**62) + b"{}", "header of spaces": struct.pack("<Q", 90_000) + b" " * 90_000,
    "deep header": struct.pack("<Q", 100_000) + DEEP, "offsets": struct.pack("<Q", 70) + b'{"a": {"dtype": "F32", "shape": [9999999999], "data_offsets": [0, -1]}}',
    "zip": archive({"archive/data.pkl": EVIL}), "letters": b"A" * 1_000, "compressed": zlib.compress(bytes(1 << 20)),
}  # fmt: skip

HOSTILE: dict[str, tuple[str, Writer]] = {
    **{f"{place}: {name}": ("data", partial(in_place, place, name)) for place in ("images", "masks", "depths") for name in PICTURES},
    **{f"picture: {name}": ("picture", partial(alone, name)) for name in PICTURES},
    **{f"zip: {name}": ("data", partial(file, "x.zip", data)) for name, data in ZIPS.items()},
    **{f"layout C: {name}": ("data", partial(lists, write_quartets_c, "data_part1.zip", data)) for name, data in ZIPS.items()},
    **{f"manifest: {name}": ("data", partial(file, "all.csv", data)) for name, data in TABLES.items()},
    **{f"parquet: {name}": ("data", partial(file, "all.parquet", b"PAR1" + data[:500] + b"PAR1")) for name, data in TABLES.items()},
    **{f"samples: {name}": ("data", partial(beside, "samples.csv", data)) for name, data in TABLES.items()},
    **{f"split: {name}": ("split", partial(file, "split.csv", data.replace(b"image", b"id").replace(b"mask", b"split"))) for name, data in TABLES.items()},
    **{f"coco: {name}": ("data", partial(file, "all.json", data)) for name, data in OBJECTS.items()},
    **{f"labelme: {name}": ("data", partial(beside, "images/00.json", data)) for name, data in OBJECTS.items()},
    **{f"facts: {name}": ("data", partial(beside, "basrelief.json", data)) for name, data in OBJECTS.items()},
    **{f"layout A: {name}": ("data", partial(lists, write_quartets_a, "file_map.txt", data)) for name, data in TABLES.items()},
    **{f"labels: {name}": ("data", partial(lists, write_quartets_c, "labels.txt", data)) for name, data in TABLES.items()},
    **{f"yolo: {name}": ("data", partial(beside, "data.yaml", data)) for name, data in YAMLS.items()},
    **{f"recipe: {name}": ("recipe", partial(file, "x.yaml", data)) for name, data in YAMLS.items()},
    **{f"shapes: {name}": ("data", partial(file, "x.gz", data)) for name, data in WEIGHTS.items()},
    **{f"name: {name}": ("data", partial(named, data)) for name, data in NAMES.items()},
    **{f"place: {name}": ("data", make) for name, make in PLACES.items()},
    **{f"network: {name}": ("network", partial(damaged, "model.safetensors", data)) for name, data in WEIGHTS.items()},
    **{f"onnx: {name}": ("network", partial(file, "x.onnx", data)) for name, data in WEIGHTS.items()},
    **{f"weights: {name}": ("network", partial(file, "x.pt", data)) for name, data in WEIGHTS.items()},
    **{f"card: {name}": ("network", partial(damaged, "config.json", data)) for name, data in OBJECTS.items()},
    **{f"{file_}: {name}": ("run", partial(run_with, file_, data)) for file_ in ("run.json", "plan.json", "verdict.json", "evaluation.json") for name, data in OBJECTS.items()},
}  # fmt: skip
