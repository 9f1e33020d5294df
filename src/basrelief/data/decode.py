"""Files to arrays: images, mask values and depth, from any of the usual encodings.

Whatever a decoder stumbles over becomes one :class:`FileError`: the file, what is wrong, what to do. What is read is
what an image viewer shows: the orientation that a camera notes in EXIF is applied to every file (masks and depth
maps rarely carry one).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# Under their own names once more: what this module takes and raises can be imported from it.
from basrelief.data.data_file import Blob as Blob
from basrelief.data.data_file import File as File
from basrelief.data.data_file import FileError as FileError
from basrelief.data.data_file import check_pixels, decoding, open_file
from basrelief.data.decode_arrays import ARRAY_SUFFIXES as ARRAY_SUFFIXES
from basrelief.data.decode_arrays import one_plane, read_array
from basrelief.data.decode_wide import (
    ORIENTATION,
    drop_exif_bomb,
    has_16_bits,
    is_tiff,
    loaded,
    read_beyond_pillow,
    read_tiff,
)
from basrelief.data.headers import TIFF_SUFFIXES, is_lossy
from basrelief.data.resize import pick_nearest, resize_image, resize_picture

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif"})
NETPBM_SUFFIXES = frozenset({".pbm", ".pgm", ".ppm", ".pnm"})
IMAGE_SUFFIXES = LOSSY_SUFFIXES | TIFF_SUFFIXES | NETPBM_SUFFIXES | {".png", ".bmp", ".dib", ".gif", ".tga", ".jp2"}

_STRIP = 1 << 22  # pixels that are turned into an array at a time

GREY_TOLERANCE = 24  # channels of a lossy file this near to each other are one grey channel with noise


def read_image(path: File, *, formats: tuple[str, ...] | None = None) -> np.ndarray:
    """Return an image as uint8 (H, W, 3).

    Grey, 1-bit, palette, CMYK, 16-bit and alpha are converted: transparent parts are laid on black; 16-bit values are
    divided by 257, unless none exceeds 255, which is 8-bit data in a wider file and stays as it is; floats must lie
    in [0, 1]. Of an animation or a stack, the first frame is taken. ``formats`` names Pillow's decoders that may see
    the file, where it comes from somebody else; all of them if not given.

    Raises
    ------
    FileError
        If the file cannot be read as an image.
    """
    with decoding(path, "an image"):
        if path.suffix.lower() in ARRAY_SUFFIXES:
            array: np.ndarray | None = read_array(path)
        else:
            array, source = read_beyond_pillow(path)
        if array is None:
            with Image.open(source, formats=formats) as picture:
                array = _pillow_colours(picture, path)
        return _to_bytes(array, path)


def read_image_at(path: File, resolution: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image brought to a resolution, uint8 (H, W, 3), and its own size.

    It is what ``resize_image`` makes of what ``read_image`` returns, but that a JPEG file is decoded at a half, a
    quarter or an eighth of its size where that suffices: half of its frequencies give its picture at half the size, in
    half the time. It stays at least 1.5 times as high and wide as ``resolution``, so that resizing it still filters.

    Raises
    ------
    FileError
        If the file cannot be read as an image.
    """
    if path.suffix.lower() in ARRAY_SUFFIXES:
        array = read_image(path)
        return resize_image(array, resolution), (array.shape[0], array.shape[1])
    with decoding(path, "an image"):
        stored, source = read_beyond_pillow(path)
        if stored is None:
            with Image.open(source) as file:
                own = _decode_less(file, path, resolution)
                picture = loaded(file, path)
                size = own or (picture.height, picture.width)
                if picture.mode == "RGB" and "transparency" not in picture.info:  # as most are: one small array is made
                    return np.asarray(resize_picture(picture, resolution)), size
                stored = _colours(picture)
        else:
            size = (stored.shape[0], stored.shape[1])
        return resize_image(_to_bytes(stored, path), resolution), size


def _decode_less(picture: Image.Image, path: File, resolution: tuple[int, int]) -> tuple[int, int] | None:
    """Have a JPEG file decoded at a part of its size, if that suffices, and return its own (height, width), turned."""
    if picture.format not in ("JPEG", "MPO"):
        return None
    check_pixels(picture.size[0] * picture.size[1], path)
    width, height = picture.size
    wanted = resolution[::-1]
    drop_exif_bomb(picture)
    if picture.getexif().get(ORIENTATION) in (5, 6, 7, 8):
        width, height, wanted = height, width, resolution
    picture.draft(picture.mode, (wanted[0] * 3 // 2, wanted[1] * 3 // 2))
    return height, width


def picture_to_bytes(picture: Image.Image) -> np.ndarray:
    """Return an open picture as ``read_image`` returns a file: uint8 (H, W, 3)."""
    name = Path(getattr(picture, "filename", "") or "the picture")
    return _to_bytes(_pillow_colours(picture, name), name)


def array_to_bytes(array: np.ndarray) -> np.ndarray:
    """Return an array (H, W) or (H, W, C) as ``read_image`` returns a file with these values: uint8 (H, W, 3)."""
    return _to_bytes(array, Path("the array"))


def read_mask_values(path: File, *, colours: bool = False) -> np.ndarray:
    """Return a mask's stored values: integers (H, W), or uint8 (H, W, 3) for true colour.

    Palette files give their indices, unless the palette is all grey (then the grey values, since tools that shrink
    PNG files reorder such palettes) or ``colours`` asks for the colours. 1-bit files give 0 and 1. Equal channels
    collapse to one. Of a file with transparency, the alpha channel is the mask where it varies and the colour does
    not; where both vary the colour is laid on black.

    Raises
    ------
    FileError
        If the file cannot be read as a mask.
    """
    with decoding(path, "a mask"):
        array = _without_alpha(_read_stored(path, colours))
        if array.ndim == 3:
            array = _collapse(array, path)
        return _whole_numbers(array, path)


def read_depth(path: File) -> np.ndarray:
    """Return depth as stored, float32 (H, W): from PNG, TIFF or PFM of any width, or ``.npy`` (2-D, or one channel).

    NaN and infinities are left as they are.

    Raises
    ------
    FileError
        If the file cannot be read, or holds colours.
    """
    return read_depth_at(path, None)[0]


def read_depth_at(path: File, resolution: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Return depth as ``read_depth`` does, of the pixels nearest to a resolution's alone, and its own size.

    Raises
    ------
    FileError
        If the file cannot be read, or holds colours.
    """
    with decoding(path, "a depth map"):
        array = _read_stored(path, colours=True)
        if array.ndim == 3 and array.shape[-1] in (2, 4):
            array = array[..., :-1]  # transparency says nothing about depth
        if array.ndim == 3 and array.shape[-1] == 3:
            array = _collapse(array, path)
            if array.ndim == 3:
                raise FileError(
                    str(path), "holds colours; a depth map has one number a pixel", "Save depth, not its picture"
                )
        array = one_plane(array, path)
        if array.dtype.kind not in "uifb":
            raise FileError(str(path), f"holds {array.dtype} values; numbers were expected", "Save float32 or uint16")
        size = (array.shape[0], array.shape[1])
        with np.errstate(over="ignore"):
            return (array if resolution is None else pick_nearest(array, resolution)).astype(np.float32), size


def read_cutout(path: File) -> np.ndarray:
    """Return a picture with its transparency, uint8 (H, W, 4): red, green, blue and alpha, not premultiplied.

    A file without transparency has alpha 255 everywhere.

    Raises
    ------
    FileError
        If the file cannot be read as an image.
    """
    with decoding(path, "an image with transparency"):
        with Image.open(open_file(path)) as opened:
            picture = loaded(opened, path)
            clear = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
            array = np.asarray(picture.convert("RGBA")) if clear else None
        if array is None:
            colours = read_image(path)
            array = np.dstack([colours, np.full(colours.shape[:2], 255, np.uint8)])
        return array


def palette_of(path: File) -> tuple[tuple[int, int, int], ...] | None:
    """Return the colours of a palette file in the order of their indices; None where there is none or it is grey."""
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return None
    with decoding(path, "a mask"):
        try:
            with Image.open(open_file(path)) as picture:
                return None if picture.mode not in ("P", "PA") else _colour_palette(picture)
        except UnidentifiedImageError:
            if is_tiff(path):
                return None
            raise


def highest_in_16_bits(path: File) -> int | None:
    """Return the highest stored value of a 16-bit grey or TIFF image, None for files of another width."""
    with decoding(path, "an image"):
        array = None
        if is_tiff(path):
            array = read_tiff(path)
        elif has_16_bits(path):
            with Image.open(open_file(path)) as picture:
                array = np.asarray(picture) if picture.mode.startswith("I") else None
        return int(array.max()) if array is not None and array.dtype == np.uint16 else None


def _read_stored(path: File, colours: bool) -> np.ndarray:
    """Return stored values from any kind of file, (H, W) or (H, W, C), an alpha channel last where there is one."""
    if path.suffix.lower() in ARRAY_SUFFIXES:
        array: np.ndarray | None = read_array(path)
        assert array is not None
        coloured = array.ndim == 3 and array.shape[-1] == 3 and array.shape[0] != 1
        return array if coloured else one_plane(array, path)
    array, source = read_beyond_pillow(path)
    if array is None:
        with Image.open(source) as picture:
            array = _pillow_stored(picture, path, colours)
    return array


def _pillow_colours(picture: Image.Image, path: File) -> np.ndarray:
    """Return grey (H, W) of any width, or uint8 (H, W, 3), transparency laid on black."""
    return _colours(loaded(picture, path))


def _colours(picture: Image.Image) -> np.ndarray:
    """Return a loaded picture as an array, a large one strip by strip: Pillow's own way holds two copies beside it."""
    rows = max(1, _STRIP // picture.width)
    if picture.height <= rows:
        return _colours_of(picture)
    found: np.ndarray | None = None
    for top in range(0, picture.height, rows):
        strip = _colours_of(picture.crop((0, top, picture.width, min(top + rows, picture.height))))
        if found is None:
            found = np.empty((picture.height, *strip.shape[1:]), strip.dtype)
        found[top : top + rows] = strip
    assert found is not None
    return found


def _colours_of(picture: Image.Image) -> np.ndarray:
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode[0] in "IF" or (picture.mode == "L" and "transparency" not in picture.info):
        return np.asarray(picture)
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, picture).convert("RGB"))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _pillow_stored(picture: Image.Image, path: File, colours: bool) -> np.ndarray:
    """Return stored values; of a palette file, ``colours`` asks for its colours instead of indices."""
    picture = loaded(picture, path)
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8)
    if picture.mode in ("P", "PA"):
        if colours or _colour_palette(picture) is None:
            return np.asarray(picture.convert("RGB"))
        return np.asarray(picture.getchannel("P") if picture.mode == "PA" else picture)
    if picture.mode in ("L", "LA", "RGB", "RGBA") or picture.mode[0] in "IF":
        return np.asarray(picture)
    return np.asarray(picture.convert("RGB"))


def _colour_palette(picture: Image.Image) -> tuple[tuple[int, int, int], ...] | None:
    """Return the palette, without the black entries that pad it; None if every entry is grey."""
    flat = picture.getpalette("RGB") or []
    colours = [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3)]
    while len(colours) > 1 and colours[-1] == (0, 0, 0):
        colours.pop()
    return None if all(r == g == b for r, g, b in colours) else tuple(colours)


def _without_alpha(array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or array.shape[-1] not in (2, 4):
        return array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    colour, alpha = array[..., :-1], array[..., -1]
    colour = colour[..., 0] if colour.shape[-1] == 1 else colour
    if (alpha == alpha.flat[0]).all():
        return colour
    flat = colour.reshape(alpha.size, -1)
    if (flat == flat[0]).all():
        return alpha
    shown = alpha > np.iinfo(alpha.dtype).max // 2 if alpha.dtype.kind == "u" else alpha > 0
    return np.where(shown if colour.ndim == 2 else shown[..., None], colour, np.zeros((), colour.dtype))


def _collapse(array: np.ndarray, path: File) -> np.ndarray:
    """Return one channel where all of them are equal, or nearly so in a lossy file."""
    if is_lossy(path):
        return array[..., 1] if int(np.ptp(array, axis=-1).max()) <= GREY_TOLERANCE else array
    first = array[..., 0]
    return first if all(np.array_equal(first, array[..., i]) for i in range(1, array.shape[-1])) else array


def _whole_numbers(array: np.ndarray, path: File) -> np.ndarray:
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.ndim == 3 and array.dtype == np.uint16:  # colours are told apart by 8 bits a channel
        if array.max(initial=0) < 256:
            array = array.astype(np.uint8)
        elif not (array % 257).any():
            array = (array // 257).astype(np.uint8)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            raise FileError(
                str(path), "holds fractions or NaN; a mask has whole numbers", "Save whole numbers, such as 0 and 255"
            )
        return array.astype(np.int64)
    if array.dtype.kind not in "ui" or (array.ndim == 3 and array.dtype != np.uint8):
        raise FileError(
            str(path), f"holds {array.dtype} values of shape {array.shape}; a mask was expected", "Save it as 8-bit PNG"
        )
    return array


def _on_black(array: np.ndarray) -> np.ndarray:
    """Return colour, or grey, laid on black as its alpha channel says."""
    colour, alpha = array[..., :-1], array[..., -1:]
    full = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    if not (alpha == full).all():
        share = alpha / full
        colour = (np.rint(colour * share) if array.dtype.kind == "u" else colour * share).astype(array.dtype)
    return colour[..., 0] if colour.shape[-1] == 1 else colour


def _to_bytes(array: np.ndarray, path: File) -> np.ndarray:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[-1] in (2, 4):
        array = _on_black(array)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[-1] != 3):
        raise FileError(str(path), f"has the shape {array.shape}; (H, W, 3) was expected", "Save it as PNG")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise FileError(
                str(path), "holds floats outside [0, 1]; an image was expected", "Save it with 8 or 16 bits"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 65535:
            raise FileError(
                str(path), f"holds values from {low} to {high}; 8 or 16 bits were expected", "Save it with 8 bits"
            )
        array = ((array.astype(np.uint32) + 128) // 257 if high > 255 else array).astype(np.uint8)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    return np.ascontiguousarray(array)
