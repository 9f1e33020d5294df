from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions
from basrelief.data.splits import split_store
from basrelief.engine.baseline import mean_baseline
from support import write_folder


def test_the_baseline_is_the_mean_of_what_is_known_at_each_pixel(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", depths=True)
    rng = np.random.default_rng(0)
    for path in (folder / "depths").iterdir():
        depth = rng.integers(500, 3000, (24, 32)) * (rng.random((24, 32)) > 0.05)
        Image.fromarray(depth.astype(np.uint16)).save(path)
    options = DataOptions(depth_scale=0.001, depth_invalid=(0,))
    source = open_source(str(folder), options)
    store = pack(source, source.entries, tmp_path / "store", (24, 32), key="k")
    split = split_store(store.index, options)
    depth = np.stack([store.sample(row).depth for row in range(12)])  # type: ignore[misc]
    mean = np.nanmean(depth[split.rows["train"]], axis=0)
    errors = [np.sqrt(np.nanmean((mean - depth[row]) ** 2)) for row in split.rows["test"]]
    found = mean_baseline(store, split, ("mask", "depth"))
    assert found["depth/rmse"] == pytest.approx(float(np.mean(errors)), abs=1e-6)
    assert 0 <= found["mask/iou"] < 1
