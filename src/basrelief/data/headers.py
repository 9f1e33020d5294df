"""What a picture's file says of itself before it is decoded: its size, its frames, whether it was saved with loss."""

from __future__ import annotations

from PIL import Image, UnidentifiedImageError

from basrelief.data.data_file import File, check_pixels, decoding, first_bytes, open_file
from basrelief.data.decode_arrays import ARRAY_SUFFIXES, array_size
from basrelief.data.decode_wide import ORIENTATION, drop_exif_bomb, is_tiff, tiff_size

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
_STACK_SUFFIXES = TIFF_SUFFIXES | {".gif", ".webp", ".apng"}


def image_size(path: File) -> tuple[int, int]:
    """Return (height, width) after EXIF orientation, from the header alone."""
    with decoding(path, "an image"):
        if path.suffix.lower() in ARRAY_SUFFIXES:
            return array_size(path)
        try:
            with Image.open(open_file(path)) as picture:
                check_pixels(picture.size[0] * picture.size[1], path)
                # ``size`` of a TIFF file is turned already in some Pillow versions; its tags are not.
                tags = getattr(picture, "tag_v2", None)
                width, height = (tags[256], tags[257]) if tags else picture.size
                drop_exif_bomb(picture)
                turned = picture.getexif().get(ORIENTATION) in (5, 6, 7, 8)
                return (width, height) if turned else (height, width)
        except UnidentifiedImageError:
            if not is_tiff(path):
                raise
        return tiff_size(path)


def frames_of(path: File) -> int:
    """Return the number of pictures in a file of a type that may hold several; 1 for the others."""
    if path.suffix.lower() not in _STACK_SUFFIXES:
        return 1
    with decoding(path, "an image"):
        try:
            with Image.open(open_file(path)) as picture:
                return int(getattr(picture, "n_frames", 1))
        except UnidentifiedImageError:  # a kind of TIFF that Pillow does not know
            return 1


def is_lossy(path: File) -> bool:
    """Return whether a file was saved with loss, as its first bytes say, whatever its name."""
    head = first_bytes(path, 4096)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return b"VP8L" not in head
    return head.startswith(b"\xff\xd8\xff") or head[4:12] in (b"ftypavif", b"ftypavis")
