"""How planes become colours: depth, masks of several classes, and pixels that nobody knows.

Reports and the pictures of a running training show the same data, so they share these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The ten anchors of viridis (CC0, S. van der Walt and N. Smith), interpolated linearly.
VIRIDIS = ("440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725")

# Okabe and Ito's colours, for class labels on black.
CLASS_COLOURS = ("56b4e9", "e69f00", "009e73", "cc79a7", "f0e442", "d55e00", "0072b2")
HATCH = (96, 150)


def colour_depth(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return uint8 (H, W) places in `depth_palette`: 0 to 253 from ``low`` to ``high``, 254 and 255 hatch the unknown.

    Parameters
    ----------
    depth
        float (H, W) in the data's unit; what is not finite is unknown.
    low, high
        The ends of the scale; what lies beyond takes the colour of the end.
    """
    known = np.isfinite(depth)
    share = np.clip((np.where(known, depth, low).astype(np.float64) - low) / (high - low), 0, 1)
    places = np.rint(share * 253).astype(np.uint8)
    return np.where(known, places, 254 + hatch(depth.shape)).astype(np.uint8)


def depth_palette() -> np.ndarray:
    """Return uint8 (256, 3): viridis in 254 steps, then the two greys of the hatching."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in VIRIDIS], dtype=np.float64)
    at = np.linspace(0, len(VIRIDIS) - 1, 254)
    ramp = np.stack([np.interp(at, np.arange(len(VIRIDIS)), anchors[:, channel]) for channel in range(3)], axis=1)
    return np.concatenate([np.rint(ramp), [[grey] * 3 for grey in HATCH]]).astype(np.uint8)


def depth_range(planes: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the ends of a scale for depths of any shapes; what is not finite is unknown, 0 and 1 where all is.

    The outermost half per cent at either end lies beyond them: a few stray measurements would wash out the rest.
    """
    known = [plane[np.isfinite(plane)] for plane in planes]
    values = np.concatenate(known) if known else np.empty(0)
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.quantile(values.astype(np.float64), (0.005, 0.995)))
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def colour_mask(planes: np.ndarray, colours: np.ndarray, *, truth: bool) -> np.ndarray:
    """Return uint8: (H, W), white on black, of one class; (H, W, 3), each class in its colour, of several.

    Parameters
    ----------
    planes
        uint8 (K, H, W). A truth holds 0, 1, and 255 where it is unknown, which is hatched; where its classes overlap,
        the last one shows. A prediction holds 0 to 255; the strongest class shows, the darker the weaker it is.
    colours
        uint8 (K, 3).
    truth
        Which of the two it is.
    """
    unknown = (planes == 255).all(axis=0) if truth else np.zeros(planes.shape[1:], dtype=bool)
    stripes = np.array(HATCH, dtype=np.uint8)[hatch(unknown.shape)]
    if len(colours) == 1:
        shown = (planes[0] == 1) * np.uint8(255) if truth else planes[0]
    else:
        unknown, stripes = unknown[..., None], stripes[..., None]
        if truth:
            shown = np.concatenate([np.zeros((1, 3), dtype=np.uint8), colours])[label_classes(planes)]
        else:
            share = planes.max(axis=0)[..., None] / 255.0
            shown = np.rint(colours[planes.argmax(axis=0)] * share)
    coloured: np.ndarray = np.where(unknown, stripes, shown).astype(np.uint8)
    return coloured


def label_classes(mask: np.ndarray) -> np.ndarray:
    """Return int (H, W) of a (K, H, W) truth: 0 for none or unknown, else 1 + the class; of several, the last one."""
    present = mask == 1
    order = np.arange(1, len(mask) + 1)[:, None, None]
    labels: np.ndarray = (present * order).max(axis=0)
    return labels


def class_names(names: Sequence[str], count: int) -> list[str]:
    """Return ``count`` names, numbered ones where ``names`` are too few."""
    return [names[place] if place < len(names) else f"class {place + 1}" for place in range(count)]


def class_colours(names: Sequence[str], count: int) -> np.ndarray:
    """Return uint8 (count, 3): each round through the palette is paler; a class called background is dark grey."""
    colours = np.zeros((count, 3))
    for place, name in enumerate(class_names(names, count)):
        base = np.array(list(bytes.fromhex(CLASS_COLOURS[place % len(CLASS_COLOURS)])), dtype=np.float64)
        paler = min(0.4 * (place // len(CLASS_COLOURS)), 0.8)
        colours[place] = 48.0 if str(name).lower() == "background" else base + (255 - base) * paler
    return np.rint(colours).astype(np.uint8)


def hatch(shape: tuple[int, ...]) -> np.ndarray:
    """Return uint8 (H, W), 0 and 1 in slanting stripes: places in ``HATCH``."""
    rows, columns = np.indices(shape)
    stripes: np.ndarray = ((rows + columns) // 2 % 2).astype(np.uint8)
    return stripes
