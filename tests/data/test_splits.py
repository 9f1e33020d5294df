from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basrelief.data.source import SPLITS, DataOptions, Entry
from basrelief.data.splits import Split, split_folds, split_store, spread_out
from basrelief.errors import BasreliefError, DataError, UsageError


def index(  # type: ignore[no-untyped-def]
    groups: list[str | None],
    *,
    splits: list[str | None] | None = None,
    hashes: list[str] | None = None,
    foregrounds: list[str | None] | None = None,
):
    count = len(groups)
    return pl.DataFrame(
        {
            "id": [f"s{i:03d}" for i in range(count)],
            "group": groups,
            "foreground": foregrounds or [None] * count,
            "split": splits or [None] * count,
            "background": pl.Series([None] * count, dtype=pl.Int64),
            "image_hash": hashes or [f"h{i}" for i in range(count)],
        },
        schema_overrides={"group": pl.String, "foreground": pl.String, "split": pl.String},
    )


@given(st.lists(st.integers(0, 12), min_size=3, max_size=80), st.integers(0, 5))
def test_groups_stay_whole_and_every_sample_has_one_place(labels: list[int], seed: int) -> None:
    split = split_store(index([str(label) for label in labels]), DataOptions(), seed=seed)
    rows = np.concatenate(list(split.rows.values()))
    assert sorted(rows) == list(range(len(labels)))
    if len(set(labels)) >= 3:
        homes = {label: {s for s in SPLITS for row in split.rows[s] if labels[row] == label} for label in set(labels)}
        assert all(len(home) == 1 for home in homes.values())
        assert all(len(split.rows[s]) for s in SPLITS)
    else:
        assert any("too few to keep groups apart" in note for note in split.notes)


def test_shares_are_about_seventy_fifteen_fifteen() -> None:
    split = split_store(index([None] * 200), DataOptions())
    assert {name: len(rows) for name, rows in split.rows.items()} == {"train": 140, "val": 30, "test": 30}


def test_shares_can_be_given_and_val_left_out() -> None:
    split = split_store(index([None] * 100), DataOptions(), "80/0/20")
    assert {name: len(rows) for name, rows in split.rows.items()} == {"train": 80, "val": 0, "test": 20}


def test_the_seed_alone_decides() -> None:
    a, b, c = (split_store(index([None] * 60), DataOptions(), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.rows["test"], b.rows["test"])
    assert not np.array_equal(a.rows["test"], c.rows["test"])


def test_identical_images_are_never_apart() -> None:
    hashes = [f"h{i // 4}" for i in range(80)]
    split = split_store(index([None] * 80, hashes=hashes), DataOptions())
    for rows in split.rows.values():
        others = set(range(80)) - set(rows.tolist())
        assert not {hashes[row] for row in rows} & {hashes[row] for row in others}


def test_blocks_of_neighbours_stay_whole_and_borders_are_left_out() -> None:
    split = split_store(index([None] * 175), DataOptions(group_blocks=12))
    names = np.full(175, "", object)
    for name, rows in split.rows.items():
        names[rows] = name
    changes = [i for i in range(1, 175) if names[i] and names[i - 1] and names[i] != names[i - 1]]
    assert not changes, "two splits never touch"
    assert (names == "").any()
    assert any("borders" in note for note in split.notes)


def test_groups_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("id,group\r\n" + "".join(f"s{i:03d},{i % 5}\r\n" for i in range(40)))
    split = split_store(index([None] * 40), DataOptions(group_file=path))
    homes = {i % 5: {s for s in SPLITS if i in split.rows[s]} for i in range(40)}
    assert all(len(home) == 1 for home in homes.values())
    path.write_text("name,group\n1,2\n")
    with pytest.raises(DataError, match=r"groups\.csv.*columns id and group"):
        split_store(index([None] * 40), DataOptions(group_file=path))
    path.write_text("id,group\nother,2\n")
    with pytest.raises(DataError, match="none of its ids"):
        split_store(index([None] * 40), DataOptions(group_file=path))


def test_ready_made_splits_are_kept_and_a_missing_val_comes_out_of_train() -> None:
    given = ["train"] * 20 + ["test"] * 5
    split = split_store(index([None] * 25, splits=given), DataOptions())
    assert split.rows["test"].tolist() == [20, 21, 22, 23, 24]
    assert len(split.rows["val"]) == 3
    assert len(split.rows["train"]) == 17
    assert any("no val part" in note for note in split.notes)


def test_a_split_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("id,split\n" + "".join(f"s{i:03d},{SPLITS[i % 3]}\n" for i in range(9)))
    split = split_store(index([None] * 10), DataOptions(), str(path))
    assert split.rows["val"].tolist() == [1, 4, 7]
    assert 9 not in np.concatenate(list(split.rows.values())), "what the file lacks is left out"
    path.write_text("id,split\ns000,training\n")
    with pytest.raises(DataError, match="'training'"):
        split_store(index([None] * 10), DataOptions(), str(path))


def test_random_says_that_it_leaks() -> None:
    split = split_store(index([str(i // 4) for i in range(40)]), DataOptions(), "random")
    assert any("flattered" in note for note in split.notes)


@pytest.mark.parametrize("rule", ["groups", "70/30", "0/50/50", "50/50/0", "a/b/c", "-1/1/1", "nan/1/1"])
def test_a_rule_that_cannot_be_read_is_shown(rule: str) -> None:
    with pytest.raises(UsageError, match="--split"):
        split_store(index([None] * 40), DataOptions(), rule)


def test_too_few_samples_say_how_many() -> None:
    with pytest.raises(BasreliefError, match="only 2"):
        split_store(index([None] * 2), DataOptions())


def test_a_limit_spreads_over_all_and_keeps_every_split() -> None:
    entries = [Entry(str(i), split="train" if i < 90 else "test") for i in range(100)]
    kept = spread_out(entries, 20)
    assert 18 <= len(kept) <= 20
    assert sum(entry.split == "test" for entry in kept) == 2
    assert int(kept[0].id) < 10
    assert int(kept[-1].id) > 90
    assert list(spread_out(entries, 500)) == entries
    with pytest.raises(UsageError, match="--limit 2"):
        spread_out(entries, 2)


def crossed(backgrounds: int, foregrounds: int, each: int = 1):  # type: ignore[no-untyped-def]
    """Every foreground before every background, as the write-ups composed."""
    cells = [(b, f) for b in range(backgrounds) for f in range(foregrounds) for _ in range(each)]
    return index([f"bg{b}" for b, _ in cells], foregrounds=[f"fg{f}" for _, f in cells])


def placed(split: Split, labels: list[str]) -> dict[str, set[str]]:
    return {name: {labels[row] for row in rows} for name, rows in split.rows.items()}


def test_quartets_keep_backgrounds_and_foregrounds_apart_and_count_the_mixed() -> None:
    frame = crossed(20, 20)
    split = split_store(frame, DataOptions())
    for column in ("group", "foreground"):
        where = placed(split, frame[column].to_list())
        assert not where["train"] & where["test"]
        assert not where["train"] & where["val"]
        assert not where["val"] & where["test"]
    kept = sum(map(len, split.rows.values()))
    assert kept == 14 * 14 + 3 * 3 + 3 * 3
    assert any(f"{400 - kept} of 400 samples (46 %)" in note for note in split.notes)


def test_what_was_composed_within_splits_loses_nothing() -> None:
    blocks = [
        (b, f) for start in (0, 10, 20, 30, 40, 50) for b in range(start, start + 10) for f in range(start, start + 5)
    ]
    frame = index([f"bg{b}" for b, _ in blocks], foregrounds=[f"fg{f}" for _, f in blocks])
    split = split_store(frame, DataOptions(), "60/20/20")
    assert sum(map(len, split.rows.values())) == len(blocks)
    where = placed(split, frame["foreground"].to_list())
    assert not where["train"] & where["test"]


@pytest.mark.parametrize(
    ("rule", "kept", "crossing"), [("background", "group", "foreground"), ("foreground", "foreground", "group")]
)
def test_keeping_one_kind_apart_keeps_all_samples_and_says_what_is_not_shown(
    rule: str, kept: str, crossing: str
) -> None:
    frame = crossed(12, 10)
    split = split_store(frame, DataOptions(), rule)
    assert sum(map(len, split.rows.values())) == 120
    where = placed(split, frame[kept].to_list())
    assert not where["train"] & where["test"]
    assert placed(split, frame[crossing].to_list())["train"] & placed(split, frame[crossing].to_list())["test"]
    assert any("stand in more than one split" in note and "do not show" in note for note in split.notes)


def test_two_foregrounds_cannot_be_kept_apart_and_it_is_said() -> None:
    split = split_store(crossed(30, 2), DataOptions())
    assert sum(map(len, split.rows.values())) == 60
    assert any("The 2 foregrounds cannot be kept apart" in note for note in split.notes)


def test_foregrounds_must_be_known_to_be_kept_apart() -> None:
    with pytest.raises(UsageError, match=r"--split foreground.*does not say which foreground"):
        split_store(index([None] * 30), DataOptions(), "foreground")


def test_random_leaks_foregrounds_and_says_so() -> None:
    assert any("flattered" in note for note in split_store(crossed(10, 10), DataOptions(), "random").notes)


@given(st.integers(3, 6), st.integers(0, 3))
def test_folds_judge_every_group_once_and_never_what_they_trained_on(folds: int, seed: int) -> None:
    labels: list[str | None] = [str(i // 3) for i in range(60)]
    splits = split_folds(index(labels), DataOptions(), folds, seed=seed)
    judged = np.concatenate([split.rows["test"] for split in splits])
    assert sorted(judged) == list(range(60))
    for split in splits:
        where = placed(split, [str(label) for label in labels])
        assert not where["train"] & where["test"]
        assert not where["val"] & where["test"]
        assert not where["val"] & where["train"]


def test_folds_of_crossed_quartets_count_the_mixed() -> None:
    frame = crossed(10, 10)
    for split in split_folds(frame, DataOptions(), 5):
        assert {name: len(rows) for name, rows in split.rows.items()} == {"train": 36, "val": 4, "test": 4}
        assert any("56 of 100" in note for note in split.notes)


def test_folds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="--folds 2"):
        split_folds(index([None] * 30), DataOptions(), 2)
    with pytest.raises(UsageError, match="80/10/10"):
        split_folds(index([None] * 30), DataOptions(), 5, "80/10/10")
    with pytest.raises(DataError, match="too few groups for 5 folds"):
        split_folds(index(["a", "b"] * 15), DataOptions(), 5)


def test_nothing_is_said_to_be_kept_that_is_not() -> None:
    pairs = [f"h{i // 2}" for i in range(40)]
    asked = DataOptions(group_blocks=4)
    given = ["train"] * 31 + ["val"] * 4 + ["test"] * 5
    for rule, splits in (("random", None), ("group", given)):
        notes = " ".join(split_store(index([None] * 40, hashes=pairs, splits=splits), asked, rule).notes)
        assert "kept in one split" not in notes
        assert "kept whole" not in notes
        assert "flattered" in notes, "the pair at the border of train and val is apart"


def test_what_stands_in_several_splits_is_counted_once_and_said_once() -> None:
    given = split_store(index(["a"] * 9, splits=["train", "val", "test"] * 3), DataOptions())
    assert any("1 group(s) stand" in note for note in given.notes)
    alone = split_store(index(["a"] * 20), DataOptions())
    assert sum("flattered" in note for note in alone.notes) == 1


def test_samples_that_belong_to_no_given_split_are_counted() -> None:
    split = split_store(index([None] * 12, splits=["train", "val", "test", None] * 3), DataOptions())
    assert any("3 samples that belong to none" in note for note in split.notes)


def test_one_background_under_several_names_is_never_apart() -> None:
    frame = index([f"copy-{i}" for i in range(40)]).with_columns(background=pl.Series([i % 10 for i in range(40)]))
    split = split_store(frame, DataOptions())
    homes = [{s for s in SPLITS if {r % 10 for r in split.rows[s].tolist()} & {b}} for b in range(10)]
    assert all(len(home) == 1 for home in homes)
    assert any("same picture" in note for note in split.notes)


def test_folds_lose_nothing_where_foregrounds_recur_in_their_own_rooms_alone() -> None:
    rooms, people = [f"r{i // 6}" for i in range(120)], [f"r{i // 6}-p{i % 3}" for i in range(120)]
    for split in split_folds(index(rooms, foregrounds=people), DataOptions(), 5):
        assert sum(len(rows) for rows in split.rows.values()) == 120
        for labels in (rooms, people):
            homes = [{labels[row] for row in rows} for rows in split.rows.values()]
            assert not homes[0] & homes[1] | homes[0] & homes[2] | homes[1] & homes[2]


def test_too_few_foregrounds_for_folds_are_named() -> None:
    frame = index([f"b{i // 20}" for i in range(400)], foregrounds=[f"f{i % 2}" for i in range(400)])
    with pytest.raises(DataError, match=r"too few foregrounds for 5 folds.*--split background"):
        split_folds(frame, DataOptions(), 5)


def test_samples_left_out_for_their_foreground_are_no_borders_of_blocks() -> None:
    frame = index([None] * 400, foregrounds=[f"f{i % 20}" for i in range(400)])
    split = split_store(frame, DataOptions(group_blocks=20))
    assert any("samples at borders" in note for note in split.notes)
    assert len(split.rows["train"]) > 180, "of 196 that keep background and foreground apart"


@pytest.mark.parametrize("limit", [3, 4, 7, 50])
def test_a_limit_is_never_exceeded_and_no_split_lost(limit: int) -> None:
    entries = [Entry(str(i), split=split) for i, split in enumerate(["train"] * 97 + ["val", "test", None])]
    kept = spread_out(entries, limit)
    assert len(kept) <= limit
    assert {"train", "val", "test"} <= {entry.split for entry in kept}


def test_a_file_that_says_two_things_of_a_sample_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("id,split\ns001,train\ns001,train\ns001,test\n")
    with pytest.raises(DataError, match=r"'s001' has two lines.*'train' and 'test'"):
        split_store(index([None] * 10), DataOptions(), str(path))
