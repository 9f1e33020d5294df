"""What has to travel with a network's weights, so that it can be used without its run directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CARRIED_VERSION = 1  # of the document; raised when a key changes its meaning
# Keys of run.json. The data's place stays out, and the machine: they are nobody else's business.
_KEYS = (
    "network",
    "resolution",
    "classes",
    "activations",
    "targets",
    "heads",
    "background",
    "depth_max",
    "depth_unit",
    "depth_kind",
    "image_size",
    "thresholds",
    "loss",
    "seed",
    "samples",
    "parameters",
    "metrics",
    "val_metrics",
    "counts",
    "definitions",
)
_SETTINGS = ("metric", "mask_values")


def carried(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ``run.json`` that travels with the weights; carrying it again changes nothing."""
    settings = {name: run["settings"].get(name) for name in _SETTINGS}
    found = {name: run[name] for name in _KEYS if name in run}
    if "classes" in found and isinstance(heads := run.get("heads"), (list, tuple)) and "mask" not in heads:
        found["classes"] = []  # the data has masks, and the network learnt depth alone
    packages = {name: version for name, version in run.get("versions", {}).items() if name != "platform"}
    return {"basrelief": CARRIED_VERSION, **found, "versions": packages, "settings": settings}
