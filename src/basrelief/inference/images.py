"""What a predictor is given, as arrays: Pillow pictures, numpy arrays and torch tensors of any usual kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from basrelief.data.decode import array_to_bytes, picture_to_bytes
from basrelief.errors import DataError, UsageError

Picture = Image.Image | np.ndarray | Tensor

_EXPECTED = (
    "Expected a Pillow image, a numpy array (height, width) or (height, width, channels), or a torch tensor "
    "(channels, height, width), of uint8 or of floats in [0, 1]."
)


def as_array(image: Any, what: str = "image") -> np.ndarray:
    """Return one picture as uint8 (H, W, 3).

    Parameters
    ----------
    image
        A Pillow image; a numpy array (H, W) or (H, W, C) of uint8, uint16 or floats in [0, 1]; a torch tensor (H, W)
        or (C, H, W) of uint8 or floats in [0, 1]. C is 1 (grey), 3 (colour) or 4 (with transparency, which is laid on
        black). Floats are rounded to whole 255ths, uint16 as in files; see ``basrelief.data.decode.read_image``.
    what
        How messages name it.

    Raises
    ------
    UsageError
        For anything else, saying what it is.
    """
    if isinstance(image, Image.Image):
        return picture_to_bytes(image)
    if isinstance(image, str | os.PathLike | bytes | bytearray):
        raise UsageError(
            f"The {what} is {_shorten(image)}, a path or a file's bytes; a predictor takes pictures. Open it with "
            "PIL.Image.open, or use basrelief.predict for files."
        )
    if isinstance(image, Tensor):
        array = _from_tensor(image, what)
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise UsageError(f"The {what} is a {type(image).__name__}. {_EXPECTED}")
    kind = f"{array.dtype} {_by(image.shape)}"
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = ""
        if isinstance(image, np.ndarray) and array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = " Channels come last in numpy: use array.transpose(1, 2, 0)."
        elif isinstance(image, Tensor) and image.ndim == 3 and image.shape[2] in (1, 3, 4):
            hint = " Channels come first in torch: use tensor.permute(2, 0, 1)."
        raise UsageError(f"The {what} is {kind}. {_EXPECTED}{hint}")
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16):
        raise UsageError(f"The {what} is {kind}. {_EXPECTED}")
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return np.ascontiguousarray(array)
    try:
        return array_to_bytes(array)
    except DataError:
        raise UsageError(f"The {what} is {kind} with values outside [0, 1], or NaN. Divide by the largest.") from None


def as_arrays(images: Any, what: str = "image") -> list[np.ndarray] | None:
    """Return several pictures, each as ``as_array`` does; None where it is one.

    Several are a list or tuple of pictures, a numpy array (N, H, W, C) or a torch tensor (N, C, H, W).
    """
    if not is_several(images):
        return None
    return [as_array(image, f"{what} {number}") for number, image in enumerate(images, 1)]


def is_several(images: Any) -> bool:
    """Return whether these are several pictures, and not one."""
    if isinstance(images, np.ndarray | Tensor):
        return images.ndim == 4
    return isinstance(images, Sequence) and not isinstance(images, str | bytes | bytearray)


def _from_tensor(tensor: Tensor, what: str) -> np.ndarray:
    plain = tensor.detach().cpu()
    if plain.is_floating_point():
        plain = plain.float()  # numpy has no bfloat16
    elif plain.dtype != torch.uint8:
        raise UsageError(f"The {what} is {tensor.dtype} {_by(tensor.shape)}. {_EXPECTED}")
    return plain.permute(1, 2, 0).numpy() if plain.ndim == 3 else plain.numpy()


def _by(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _shorten(value: Any) -> str:
    text = repr(os.fspath(value)) if isinstance(value, os.PathLike) else repr(value)
    return text if len(text) < 60 else text[:56] + "…"
