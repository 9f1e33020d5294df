"""The command that packs data into a store, and trainings that read one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import basrelief as br
from basrelief.cli import app
from basrelief.data.store import open_store
from basrelief.errors import DataError, OutputError, UsageError
from support import write_folder


def test_the_command_packs_and_says_what(discs_with_depth: Path, tmp_path: Path) -> None:
    words = ["pack", str(discs_with_depth), "--out", str(tmp_path / "store"), "--resolution", "16x24", "--json"]
    done = CliRunner().invoke(app, [*words, "--depth-scale", "0.001"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["count"], document["copied"], document["resolution"]) == (12, 0, [16, 24])
    assert document["targets"] == ["mask", "depth"]
    assert document["bytes"] == sum(
        path.stat().st_size for path in (tmp_path / "store").iterdir() if path.name != "store.json"
    )
    plain = CliRunner().invoke(app, [*words[:-1], "--depth-scale", "0.001"])
    assert "12 samples (image, mask, depth) at 16x24" in plain.stdout
    assert "12 of them were unchanged" in plain.stdout


def test_packing_again_decodes_only_what_changed(discs: Path, tmp_path: Path) -> None:
    first = br.pack(discs, tmp_path / "store", resolution=16)
    again = br.pack(discs, tmp_path / "store", resolution=16)
    assert again["copied"] == 12
    assert again["fingerprint"] == first["fingerprint"]
    Image.new("RGB", (32, 24), "red").save(discs / "images" / "03.png")
    changed = br.pack(discs, tmp_path / "store", resolution=16)
    assert changed["copied"] == 11
    assert changed["fingerprint"] != first["fingerprint"]


def test_nothing_else_is_overwritten_and_broken_files_leave_the_old_store(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match="holds something else"):
        br.pack(discs, tmp_path / "full")
    first = br.pack(discs, tmp_path / "store", resolution=16)
    (discs / "images" / "03.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"03\.png"):
        br.pack(discs, tmp_path / "store", resolution=16)
    assert open_store(tmp_path / "store").facts.fingerprint == first["fingerprint"]
    left = br.pack(discs, tmp_path / "store", resolution=16, skip_broken=True)
    assert (left["count"], len(left["skipped"])) == (11, 1)


def test_a_training_uses_a_store_where_it_lies(discs: Path, tmp_path: Path) -> None:
    packed = br.pack(discs, tmp_path / "store", resolution=16)
    options = {"network": "masknet", "epochs": 1, "loss": "bce(mask)"}
    from_store = br.train(tmp_path / "store", out=tmp_path / "a", **options)
    from_files = br.train(discs, out=tmp_path / "b", resolution=16, **options)
    assert not (tmp_path / "a" / "data").exists(), "nothing is packed again"
    assert from_store["metrics"] == from_files["metrics"]
    assert from_store["data"]["fingerprint"] == packed["fingerprint"]
    assert br.evaluate(tmp_path / "a")["images"] == br.evaluate(tmp_path / "b")["images"]
    br.train(tmp_path / "store", out=tmp_path / "smaller", resolution=8, **options)
    assert (tmp_path / "smaller" / "data").exists(), "another resolution is another store"
    with pytest.raises(UsageError, match=r"--depth-scale.*is packed"):
        br.train(tmp_path / "store", out=tmp_path / "c", depth_scale=0.001, **options)


def test_a_store_that_became_another_is_noticed(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "store", resolution=16)
    options = {"network": "masknet", "epochs": 1, "loss": "bce(mask)"}
    br.train(tmp_path / "store", out=tmp_path / "run", **options)
    other = write_folder(tmp_path / "other", 9)
    shutil.rmtree(tmp_path / "store")
    br.pack(other, tmp_path / "store", resolution=16)
    with pytest.raises(OutputError, match="has changed"):
        br.train(tmp_path / "store", out=tmp_path / "run", **options)
    with pytest.raises(DataError, match="is another than when"):
        br.evaluate(tmp_path / "run")


def test_a_copied_store_is_the_same_store(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "store", resolution=16)
    shutil.copytree(tmp_path / "store", tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").iterdir():
        os.utime(path, (1, 1))
    assert open_store(tmp_path / "copy").facts.fingerprint == open_store(tmp_path / "store").facts.fingerprint


def test_a_store_is_never_packed_over_itself(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "store", resolution=16)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for data, out in (("store", "store"), ("store", "link"), ("link", "store")):
        with pytest.raises(UsageError, match="is DATA itself"):
            br.pack(tmp_path / data, tmp_path / out, limit=5)
    assert open_store(tmp_path / "store").facts.count == 12


def test_a_study_never_packs_over_the_store_it_reads(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "study" / "data", resolution=32)
    with pytest.raises(OutputError, match="is the data itself"):
        br.train(tmp_path / "study" / "data", out=tmp_path / "study", resolution=16, epochs=1)
    assert open_store(tmp_path / "study" / "data").facts.resolution == (32, 32)


def test_a_link_to_a_store_is_followed(discs: Path, tmp_path: Path) -> None:
    br.pack(discs, tmp_path / "store", resolution=16)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    br.pack(discs, tmp_path / "link", resolution=8)
    assert (tmp_path / "link").is_symlink()
    assert open_store(tmp_path / "store").facts.resolution == (8, 8)


def test_no_jobs_are_refused(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--jobs 0"):
        br.pack(discs, tmp_path / "store", jobs=0)


def test_a_study_whose_packed_data_is_gone_goes_on_with_the_same_data_only(discs: Path, tmp_path: Path) -> None:
    options = {"network": "masknet", "epochs": 1, "loss": "bce(mask)", "resolution": 16}
    br.train(discs, out=tmp_path / "run", **options)
    shutil.rmtree(tmp_path / "run" / "data")
    with pytest.raises(DataError, match="is gone"):
        br.evaluate(tmp_path / "run")
    br.train(discs, out=tmp_path / "run", **options)
    assert br.evaluate(tmp_path / "run")["images"]
    shutil.rmtree(tmp_path / "run" / "data")
    picture = discs / "images" / "03.png"
    with Image.open(picture) as image:
        image.rotate(180).save(picture)
    with pytest.raises(OutputError, match="has changed"):
        br.train(discs, out=tmp_path / "run", **options)


def test_a_store_is_scored_by_a_run_whose_files_needed_options(discs_with_depth: Path, tmp_path: Path) -> None:
    reading = {"depth_scale": 0.001, "depth_unit": "m", "resolution": 16}
    br.train(discs_with_depth, out=tmp_path / "run", epochs=1, loss="rmse(depth)", **reading)
    br.pack(write_folder(tmp_path / "new", 5, (20, 40), depths=True), tmp_path / "store", **reading)
    assert br.evaluate(tmp_path / "run", tmp_path / "store")["images"] == 5
    with pytest.raises(UsageError, match=r"--depth-scale.*is packed"):
        br.evaluate(tmp_path / "run", tmp_path / "store", depth_scale=0.1)


def test_a_file_of_splits_is_found_again_from_another_folder(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{i:02d},{('train', 'val', 'test')[i % 3]}\n" for i in range(12)]
    (tmp_path / "split.csv").write_text("id,split\n" + "".join(lines))
    options = {"network": "masknet", "epochs": 1, "loss": "bce(mask)", "resolution": 16, "out": tmp_path / "run"}
    monkeypatch.chdir(tmp_path)
    br.train(discs, split="split.csv", **options)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert br.train(discs, split="../split.csv", **options)["samples"] == {"train": 4, "val": 4, "test": 4}


def test_the_same_codes_with_another_meaning_are_another_store(discs_with_depth: Path, tmp_path: Path) -> None:
    prints = {
        br.pack(discs_with_depth, tmp_path / name, resolution=16, depth_scale=0.001, **options)["fingerprint"]
        for name, options in {"a": {}, "b": {"depth_unit": "cm"}, "c": {"depth_max": 100.0}, "d": {}}.items()
    }
    assert len(prints) == 3
