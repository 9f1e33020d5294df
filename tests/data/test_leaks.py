"""What stands on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from basrelief.data.leaks import IDS_LISTED, LISTED, Looks, find_leaks, leak_faults
from basrelief.data.planned_split import divide
from basrelief.data.source import DataOptions, Entry
from basrelief.data.splits import Split


def looks_of(
    hashes: list[int | None],
    colours: list[int] | None = None,
    groups: list[str | None] | None = None,
    backgrounds: list[bytes | None] | None = None,
    foregrounds: list[str | None] | None = None,
    digests: list[bytes] | None = None,
) -> Looks:
    """Return samples s0, s1, … with these hashes; those with equal numbers in ``colours`` look the same in colour."""
    count = len(hashes)
    pictures = np.random.default_rng(0).integers(0, 256, (64, 192), dtype=np.uint8)
    none = [None] * count
    return Looks(
        [
            Entry(f"s{i}", group=group, foreground=foreground)
            for i, group, foreground in zip(range(count), groups or none, foregrounds or none, strict=True)
        ],
        digests or [bytes([i]) for i in range(count)],
        backgrounds or none,
        np.array([one or 0 for one in hashes], dtype=np.uint64),
        pictures[colours if colours is not None else [0] * count],
        np.array([one is not None for one in hashes], dtype=bool),
    )


def split_of(names: list[str], groups: list[int] | None = None) -> Split:
    rows = {split: np.flatnonzero(np.array(names) == split) for split in ("train", "val", "test")}
    return Split(rows, np.array(groups if groups is not None else range(len(names))), "group", ())


A, NEAR_A, B = 0x0123456789ABCDEF, 0x0123456789ABCDEF ^ 0b1011, 0xFEDCBA9876543210


def test_a_test_image_near_a_training_image_is_counted_with_its_nearest() -> None:
    looks = looks_of([A, NEAR_A, B, A ^ 1, None, NEAR_A])
    near, leaks = find_leaks(looks, split_of(["train", "test", "test", "train", "test", "val"]))
    assert leaks["test"] == {"images": 3, "same": 0, "similar": 1}
    assert leaks["val"] == {"images": 1, "same": 0, "similar": 1}
    assert leaks["examples"] == [["s5", "s3", 2], ["s1", "s3", 2]]
    assert near["clusters"] == 1
    assert near["images"] == 4
    assert near["across"] == 1
    assert near["without_contrast"] == 1
    assert near["listed"][0]["ids"] == ["s0", "s1", "s3", "s5"]
    assert near["listed"][0]["splits"] == ["train", "val", "test"]


def test_equal_hashes_of_other_colours_are_not_alike() -> None:
    names = ["train", "test", "test"]
    near, leaks = find_leaks(looks_of([A, A, NEAR_A], colours=[0, 1, 1]), split_of(names))
    assert leaks["test"]["similar"] == 0
    assert (near["clusters"], near["images"]) == (1, 2)
    near, leaks = find_leaks(looks_of([A, A, NEAR_A], colours=[0, 0, 1]), split_of(names))
    assert leaks["test"]["similar"] == 1
    assert (near["clusters"], near["images"]) == (1, 2)


def test_the_same_image_is_counted_apart_from_one_that_looks_alike() -> None:
    looks = looks_of([A, A, NEAR_A], digests=[b"x", b"x", b"y"])
    _, leaks = find_leaks(looks, split_of(["train", "test", "test"]))
    assert leaks["test"] == {"images": 2, "same": 1, "similar": 1}


@pytest.mark.parametrize("held", ["groups", "backgrounds", "digests", "split"])
def test_what_is_held_together_already_is_no_cluster(held: str) -> None:
    given = {
        "groups": {"groups": ["g", "g"]},
        "backgrounds": {"backgrounds": [b"b", b"b"]},
        "digests": {"digests": [b"d", b"d"]},
        "split": {},
    }[held]
    split = split_of(["train", "train"], [0, 0] if held == "split" else [0, 1])
    near, _ = find_leaks(looks_of([A, NEAR_A], **given), split)
    assert near["clusters"] == 0
    near, leaks = find_leaks(looks_of([A, NEAR_A]), None)
    assert near["clusters"] == 1
    assert leaks == {}


def test_one_group_alike_within_and_with_another_is_one_cluster() -> None:
    near, _ = find_leaks(looks_of([A, A ^ 1, A ^ 3, B], groups=["g", "g", None, "g"]), None)
    assert near["listed"] == [
        {"ids": ["s0", "s1", "s2"], "count": 3, "splits": [], "pair": ["s1", "s2"]},
    ]


def test_the_pair_shown_stands_across_splits_where_one_does() -> None:
    near, _ = find_leaks(looks_of([A, A ^ 1, A ^ 0b11110]), split_of(["train", "train", "test"]))
    assert near["listed"][0]["pair"] == ["s0", "s2"]


def test_backgrounds_and_foregrounds_in_several_splits_are_counted() -> None:
    looks = looks_of(
        [A, B, None, None],
        backgrounds=[b"1", b"1", b"2", b"2"],
        foregrounds=["cat", "dog", "cat", "cat"],
    )
    _, leaks = find_leaks(looks, split_of(["train", "test", "test", ""]))
    assert leaks["backgrounds"] == 1
    assert leaks["foregrounds"] == 1
    faults = [str(fault) for fault in leak_faults("here", leaks, "as the data comes")]
    assert len(faults) == 2
    assert all("--split 70/15/15" in fault for fault in faults)
    assert "leave out --split random" in str(leak_faults("here", leaks, "random")[0]).lower()


def test_the_remedy_for_a_composed_set_is_to_compose_it_again(tmp_path: Path) -> None:
    _, leaks = find_leaks(looks_of([A, A ^ 1]), split_of(["train", "test"]))
    (tmp_path / "basrelief.json").write_text("{}")  # as anybody may write for data of their own
    assert "compose again" not in str(leak_faults(str(tmp_path), leaks, "as the data comes")[0])
    (tmp_path / "basrelief.json").write_text('{"made_by": "basrelief compose"}')
    assert "compose again with --group-blocks" in str(leak_faults(str(tmp_path), leaks, "as the data comes")[0])
    assert "compose again" not in str(leak_faults(str(tmp_path), leaks, "group")[0])
    assert "compose again" not in str(leak_faults("scenes:9", leaks, "as the data comes")[0])


def test_the_remedy_is_blocks_for_neighbours_and_a_file_for_others() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 2**64, 50, dtype=np.uint64)
    film = looks_of([int(value) for value in np.repeat(pictures, 2)])
    _, leaks = find_leaks(film, split_of(["train", "test"] * 50))
    assert leaks["test"]["similar"] == 50
    [fault] = leak_faults("here", leaks, "group")
    assert "50 of 50 test images look like a training image" in str(fault)
    assert ": --group-blocks 10" in str(fault)
    assert "--split 70/15/15 --group-blocks 10" in str(leak_faults("here", leaks, "as the data comes")[0])
    twice = looks_of([int(value) for value in np.tile(pictures, 2)])
    _, leaks = find_leaks(twice, split_of(["train"] * 50 + ["test"] * 50))
    assert "--group-file FILE" in str(leak_faults("here", leaks, "group")[0])
    assert not fault.fatal


def test_many_clusters_are_counted_and_a_few_listed() -> None:
    rng = np.random.default_rng(0)
    hashes = [int(value) for value in np.repeat(rng.integers(0, 2**64, LISTED + 5, dtype=np.uint64), 2)]
    near, _ = find_leaks(looks_of([*hashes, *[A] * (IDS_LISTED + 3)]), None)
    assert near["clusters"] == LISTED + 6
    assert len(near["listed"]) == LISTED
    assert near["listed"][0]["count"] == IDS_LISTED + 3
    assert len(near["listed"][0]["ids"]) == IDS_LISTED


def test_thousands_of_equal_hashes_are_one_cluster_at_once() -> None:
    # Compared pair by pair, these would be 800 million pairs.
    looks = looks_of([A] * 40_000, digests=[i.to_bytes(4, "big") for i in range(40_000)])
    near, leaks = find_leaks(looks, split_of(["train", "test"] * 20_000))
    assert (near["clusters"], near["images"]) == (1, 40_000)
    assert leaks["test"]["similar"] == 20_000


def test_no_samples_and_too_few_are_a_reason_and_no_error() -> None:
    assert divide([], [], DataOptions(), "group", 0)[1] == "There are no usable samples to divide."
    split, reason = divide([Entry("a")], ["a"], DataOptions(), "group", 0)
    assert split is None
    assert "need one each" in reason
    near, leaks = find_leaks(looks_of([]), None)
    assert near["clusters"] == 0
    assert leaks == {}


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("hashes", [[A, NEAR_A], [NEAR_A, A]])
def test_either_split_is_compared_with_training_whichever_hash_is_lower(split: str, hashes: list[int | None]) -> None:
    _, leaks = find_leaks(looks_of(hashes), split_of(["train", split]))
    assert leaks[split] == {"images": 1, "same": 0, "similar": 1}
    assert leaks["examples"] == [["s1", "s0", 3]]
