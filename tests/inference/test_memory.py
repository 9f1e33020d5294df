"""How much memory a very large image takes, measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# A mask, a depth map and a background, so that more is held than by most networks; the network itself takes nothing.
_PROGRAM = """
import resource, sys
import numpy as np
from basrelief.inference.predictor import Predictor

height, width, tile = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
run = {
    "resolution": [64, 64], "classes": ["figure"], "targets": ["mask", "depth"], "activations": {}, "depth_max": 10.0,
    "depth_unit": "m", "depth_kind": "metric", "background": True,
}

def network(images, backgrounds):
    values = (images - backgrounds).permute(0, 3, 1, 2).float() / 255
    return {"mask": values[:, :1], "depth": values[:, 1:2]}

predictor = Predictor(run, network, tile=tile)
image = np.full((height, width, 3), 100, np.uint8)
background = np.full((height, width, 3), 49, np.uint8)
mask, depth = np.empty((height, width), np.uint8), np.empty((height, width), np.uint16)
for rows, planes in predictor.bands(image, background):
    mask[rows] = np.rint(planes["mask"][0] * 255)
    depth[rows] = np.rint(planes["depth"][0] * 6553.5)
assert (mask == 51).all() and (depth == 13107).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no getrusage")
@pytest.mark.parametrize("tile", ["none", "256", "5000"])
def test_twelve_thousand_by_nine_thousand_pixels_fit_in_two_gigabytes(tile: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "9000", "12000", tile], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2e9
