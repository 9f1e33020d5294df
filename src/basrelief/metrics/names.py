"""Names of metrics: ``TARGET/METRIC``, for all images together ``…_pooled``, of aligned depth ``…@ALIGNMENT``."""

from __future__ import annotations

_POOLED = "_pooled"


def pooled_name(name: str) -> str:
    """Return the name of the metric that pools what ``name`` scores image by image."""
    base, alignment = _parts(name)
    return base + _POOLED + alignment


def unpooled_name(name: str) -> str:
    """Return the name of the metric that scores image by image what ``name`` pools; ``name`` if it pools nothing."""
    base, alignment = _parts(name)
    return base.removesuffix(_POOLED) + alignment


def is_pooled_name(name: str) -> bool:
    """Return whether ``name`` is that of a pooled metric."""
    return _parts(name)[0].endswith(_POOLED)


def _parts(name: str) -> tuple[str, str]:
    """Return a name without its alignment, and that; a class may have any name, and only depth is aligned."""
    base, at, alignment = name.partition("@") if name.startswith("depth/") else (name, "", "")
    return base, at + alignment
