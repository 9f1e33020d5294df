"""A study at a URL: what is there is whole, and one machine goes on where another one stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import basrelief as br
import killing
from basrelief.errors import OutputError
from basrelief.studies.shared import Shared, begin_shared, fetched, is_url, local_folder
from basrelief.studies.trials import outcome_of
from support import write_folder

SMALL = {**killing.SETTINGS, "epochs": 1}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"file://{tmp_path}/bucket/mine"


def test_another_machine_goes_on_from_what_is_there(discs: Path, url: str, tmp_path: Path) -> None:
    verdict = br.study(discs, out=url, jobs=1, **SMALL)
    assert verdict["url"] == url
    there = tmp_path / "bucket" / "mine"
    assert (there / "verdict.json").read_bytes() == (tmp_path / "runs" / "mine" / "verdict.json").read_bytes()
    assert not list(there.rglob(".*"))
    written = killing.finished(there)
    lost = sorted(written)[0]
    shutil.rmtree(there / lost)
    shutil.rmtree(tmp_path / "runs")
    again = br.study(discs, out=url, jobs=1, **SMALL)
    assert {**again, "out": ""} == {**verdict, "out": ""}
    now = killing.finished(there)
    assert {name: at for name, at in now.items() if name != lost} == {n: at for n, at in written.items() if n != lost}
    assert lost in now


def test_a_trial_that_was_cut_off_on_its_way_is_not_there(
    discs: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    br.study(discs, out=tmp_path / "s", jobs=1, **SMALL)
    shared, trial = Shared(url), "trials/00-bce-mask/seed-0"
    put = shared.fs.put_file

    def fails_at_the_end(path: str, there: str) -> None:
        if path.endswith("run.json"):
            raise OSError("the network went")
        put(path, there)

    monkeypatch.setattr(shared.fs, "put_file", fails_at_the_end)
    with pytest.raises(OutputError, match=r"file://.*the network went"):
        shared.sync_trial(tmp_path / "s", trial)
    monkeypatch.undo()
    shared.sync_trial(tmp_path / "other", trial)
    assert not (tmp_path / "other").exists()
    shared.sync_trial(tmp_path / "s", trial)
    shared.sync_trial(tmp_path / "other", trial)
    assert outcome_of(tmp_path / "other" / trial) == outcome_of(tmp_path / "s" / trial)


def test_a_node_fetches_a_study_once_and_another_one_at_the_same_url_anew(
    discs: Path, url: str, tmp_path: Path
) -> None:
    import hashlib

    def fetch() -> Path:
        shared = Shared(url)
        return fetched(url, shared.id(), hashlib.sha256(str(shared.plan()).encode()).hexdigest())

    br.study(discs, out=url, jobs=1, **SMALL)
    first = fetch()
    moment = (first / "data" / "store.json").stat().st_mtime_ns
    assert fetch() == first
    assert (first / "data" / "store.json").stat().st_mtime_ns == moment
    shutil.rmtree(tmp_path / "bucket")
    shutil.rmtree(tmp_path / "runs")
    br.study(discs, out=url, jobs=1, **{**SMALL, "losses": ("dice(mask)",)})
    assert fetch() != first


def test_a_store_that_lies_elsewhere_is_pushed_with_the_study(discs: Path, url: str, tmp_path: Path) -> None:
    from basrelief.studies.stored import reopen

    br.pack(discs, out=tmp_path / "packed", resolution=16)
    br.study(tmp_path / "packed", out=url, jobs=1, **SMALL)
    shutil.rmtree(tmp_path / "runs")
    shutil.rmtree(tmp_path / "packed")
    assert reopen(begin_shared(url)).store.facts.count == 12


def test_other_data_at_the_url_is_not_written_over(discs: Path, url: str, tmp_path: Path) -> None:
    br.study(discs, out=url, jobs=1, **SMALL)
    shutil.rmtree(tmp_path / "runs")
    other = write_folder(tmp_path / "other", 14)
    with pytest.raises(OutputError, match="location"):
        br.study(other, out=url, jobs=1, **SMALL)


def test_folders_of_two_urls_with_one_name_are_two(url: str) -> None:
    assert begin_shared(url) == local_folder(url) == Path("runs/mine")
    assert begin_shared(url.replace("bucket", "basket")) == Path("runs/mine-2")
    assert begin_shared(url + "/") == Path("runs/mine")
    assert not is_url("runs/mine")
    assert not is_url(Path("runs"))
