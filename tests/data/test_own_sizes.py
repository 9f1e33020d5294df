"""What a store says of its images' size before they were resized."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import basrelief as br
from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.store import FACTS, INDEX, Store, file_facts, open_store
from support import make_quartets, write_folder, write_quartets_b


def forget_sizes(folder: Path) -> None:
    """Make a store as it was packed before sizes were noted."""
    pl.read_parquet(folder / INDEX).drop("height", "width").write_parquet(folder / INDEX)
    document = json.loads((folder / FACTS).read_text())
    document["files"][INDEX] = file_facts(folder / INDEX)
    (folder / FACTS).write_text(json.dumps(document))


def sizes(store: Store) -> list[tuple[int, int] | None]:
    return [store.own_size(number) for number in range(store.facts.count)]


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """Twelve pictures of 24 x 32 pixels, of which the first three have another size."""
    folder = write_folder(tmp_path / "discs")
    for number, size in enumerate([(40, 48), (20, 16), (200, 100)]):
        for name in ("images", "masks"):
            with Image.open(folder / name / f"{number:02d}.png") as picture:
                picture.resize(size[::-1]).save(folder / name / f"{number:02d}.png")
    return folder


def test_a_store_knows_own_sizes_and_their_median(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "store", resolution=16)
    store = open_store(tmp_path / "store")
    assert sizes(store)[:4] == [(40, 48), (20, 16), (200, 100), (24, 32)]
    assert store.median_size(np.arange(12)) == (24, 32)
    assert store.median_size(np.arange(3)) == (40, 48)
    assert store.median_size(np.arange(2)) == (30, 32)
    assert store.median_size(np.empty(0, np.int64)) is None


def test_images_with_a_shared_background_have_their_own_size(tmp_path: Path) -> None:
    write_quartets_b(tmp_path / "b", make_quartets(backgrounds=2, each=2, size=(48, 64)))
    source = open_source(str(tmp_path / "b"))
    store = pack(source, source.entries, tmp_path / "store", (16, 16), key="k")
    assert set(sizes(store)) == {(48, 64)}


def test_jpeg_that_is_decoded_at_a_part_of_its_size_keeps_its_own(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (320, 240), 255 * (number % 2)).save(tmp_path / "data" / name / f"{number}.jpg")
    br.pack(tmp_path / "data", tmp_path / "store", resolution=16)
    assert set(sizes(open_store(tmp_path / "store"))) == {(240, 320)}


def test_generated_images_have_no_size_of_their_own(tmp_path: Path) -> None:
    br.pack("scenes:6", tmp_path / "store", resolution=16)
    store = open_store(tmp_path / "store")
    assert set(sizes(store)) == {None}
    assert store.median_size(np.arange(6)) is None


def test_a_store_packed_from_a_store_keeps_the_images_own_sizes(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "large", resolution=24)
    br.pack(tmp_path / "large", tmp_path / "small", resolution=16)
    assert sizes(open_store(tmp_path / "small")) == sizes(open_store(tmp_path / "large"))


def test_samples_that_are_copied_keep_their_sizes(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "store", resolution=16)
    before = sizes(open_store(tmp_path / "store"))
    Image.new("RGB", (32, 24), "red").save(discs / "images" / "05.png")
    assert br.pack(discs, tmp_path / "store", resolution=16)["copied"] == 11
    assert sizes(open_store(tmp_path / "store")) == before


def test_older_stores_are_read_and_what_is_copied_from_them_is_not_known(discs: Path, tmp_path: Path) -> None:
    first = br.pack(discs, tmp_path / "store", resolution=16)
    forget_sizes(tmp_path / "store")
    older = open_store(tmp_path / "store")
    assert set(sizes(older)) == {None}
    assert older.median_size(np.arange(12)) is None
    Image.new("RGB", (50, 40), "red").save(discs / "images" / "03.png")
    Image.new("L", (50, 40), 255).save(discs / "masks" / "03.png")
    again = br.pack(discs, tmp_path / "store", resolution=16)
    assert again["copied"] == 11
    store = open_store(tmp_path / "store")
    assert sizes(store) == [None] * 3 + [(40, 50)] + [None] * 8
    assert store.median_size(np.arange(12)) == (40, 50)
    assert first["fingerprint"] != again["fingerprint"]  # as ever when a picture changes


def test_fingerprints_do_not_depend_on_it(discs: Path, tmp_path: Path) -> None:
    first = br.pack(discs, tmp_path / "store", resolution=16)
    forget_sizes(tmp_path / "store")
    again = br.pack(discs, tmp_path / "store", resolution=16)
    assert (again["copied"], again["fingerprint"]) == (12, first["fingerprint"])


def test_a_run_on_an_older_store_trains_and_resumes_without_sizes(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "store", resolution=16)
    known = br.train(tmp_path / "store", out=tmp_path / "known", loss="bce", network="masknet", epochs=1)
    forget_sizes(tmp_path / "store")
    options = {"out": tmp_path / "run", "loss": "bce", "network": "masknet", "epochs": 1}
    run = br.train(tmp_path / "store", **options)
    documents = [json.loads(Path(done["run"], "run.json").read_text()) for done in (known, run)]
    assert [document["image_size"] for document in documents] == [[24, 32], None]
    assert br.train(tmp_path / "store", **options)["metrics"] == run["metrics"]
