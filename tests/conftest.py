"""Small data that most tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions
from basrelief.data.store import Store
from support import write_folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what probes find away from the user's own cache folder, in this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def scenes_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 generated scenes at 32 px, with mask, depth and background."""
    source = open_source("scenes:24", DataOptions(resolution=(32, 32)))
    return pack(source, source.entries, tmp_path_factory.mktemp("scenes") / "store", (32, 32), key="test")


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """A folder of 12 pictures with masks."""
    return write_folder(tmp_path / "discs")


@pytest.fixture
def discs_with_depth(tmp_path: Path) -> Path:
    """A folder of 12 pictures with masks and depth."""
    return write_folder(tmp_path / "discs", depths=True)
