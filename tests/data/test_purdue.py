"""The format ``purdue-shapes``: what it reads, and that a hostile file is refused and runs nothing."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basrelief.data import open_source, plain_input, plain_pickle
from basrelief.data.purdue import Box, boxes, label_values
from basrelief.data.purdue_write import write_purdue_shapes
from basrelief.data.source import DataOptions
from basrelief.errors import DataError, UsageError

LABELS = {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}


def sample(number: int = 0) -> list[Any]:
    """Return a sample as the description has it: one rectangle, its colour by the number."""
    mask = np.zeros((5, 64, 64), np.uint8)
    mask[0, 10:21, 30:41] = 50
    channels = [(mask[0].ravel() // 50 * (200 + number + i)).tolist() for i in range(3)]
    return [*channels, mask, {50: [[30, 10, 40, 20]], 100: [], 150: [], 200: [], 250: []}]


def write(path: Path, data: Any, protocol: int = 2) -> Path:
    path.write_bytes(gzip.compress(data if isinstance(data, bytes) else pickle.dumps(data, protocol), 1))
    return path


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("as_dict", [False, True])
def test_every_protocol_and_both_kinds_of_dataset_give_the_same_samples(
    tmp_path: Path, protocol: int, as_dict: bool
) -> None:
    samples = [sample(number) for number in range(3)]
    dataset = dict(enumerate(samples)) if as_dict else samples
    source = open_source(str(write(tmp_path / "shapes.gz", (dataset, LABELS), protocol)))
    assert source.format == "purdue-shapes"
    assert source.classes == tuple(LABELS)
    assert [entry.id for entry in source.entries] == ["shapes/00000", "shapes/00001", "shapes/00002"]
    for number, entry in enumerate(source.entries):
        loaded = source.load(entry)
        assert loaded.image.shape == (64, 64, 3)
        assert loaded.image[10, 30].tolist() == [200 + number, 201 + number, 202 + number]
        assert loaded.image[9, 30].tolist() == [0, 0, 0]
        assert loaded.mask is not None
        assert loaded.mask.sum(axis=(1, 2)).tolist() == [121, 0, 0, 0, 0]
        assert loaded.mask[0, 10:21, 30:41].all()


def test_strings_as_python_2_wrote_them(tmp_path: Path) -> None:
    """Protocol 0 quotes the bytes of an array; protocol 1 and 2 count them."""
    mask = sample()[3].tobytes()
    quoted = b"S'" + b"".join(b"\\x%02x" % byte for byte in mask) + b"'\n"
    counted = b"T" + struct.pack("<i", len(mask)) + mask
    for text in (quoted, counted):
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n"
            b"(I1\n(I5\nI64\nI64\ntp7\ncnumpy\ndtype\np8\n(S'u1'\np9\nI0\nI1\ntp10\nRp11\n"
            b"(I3\nS'|'\np12\nNNNI-1\nI-1\nI0\ntp13\nbI00\n" + text + b"p14\ntp15\nb"
        )
        channel = b"(lp20\n" + b"I7\na" * 4096
        labels = b"(dp30\n" + b"".join(b"S'%s'\nI%d\ns" % (k.encode(), v) for k, v in LABELS.items())
        boxes_of = b"(dp40\nI50\n(lp41\n(lp42\nI30\naI10\naI40\naI20\naas"
        whole = b"((lp0\n(lp16\n" + 3 * (channel + b"a") + array + b"a" + boxes_of + b"aa" + labels + b"tp50\n."
        # As the published programs read it, and as we do.
        (theirs,), _ = pickle.loads(whole, encoding="latin1")
        source = open_source(str(write(tmp_path / "old.gz", whole)))
        loaded = source.load(source.entries[0])
        assert (loaded.image == 7).all()
        assert loaded.mask is not None
        assert np.array_equal(loaded.mask, theirs[3] > 0)
        assert boxes(source, source.entries[0]) == (("rectangle", Box(30, 10, 40, 20)),)


def test_numbers_that_numpy_wrote_are_numbers(tmp_path: Path) -> None:
    one = sample()
    one[4] = {50: [[np.int64(30), np.int64(10), np.int32(40), np.uint8(20)]]}
    source = open_source(str(write(tmp_path / "x.gz", ([one], LABELS))))
    assert boxes(source, source.entries[0]) == (("rectangle", Box(30, 10, 40, 20)),)


@pytest.mark.parametrize("keys", ["value", "plane"])
def test_boxes_and_label_values_are_kept_under_either_kind_of_key(tmp_path: Path, keys: str) -> None:
    write_purdue_shapes(tmp_path / "x.gz", 20, box_keys=keys)
    source = open_source(str(tmp_path / "x.gz"))
    assert label_values(source) == LABELS
    assert list(label_values(source)) == list(source.classes)
    for entry in source.entries:
        figures = boxes(source, entry)
        mask = source.load(entry).mask
        assert mask is not None
        assert figures
        for plane, name in enumerate(source.classes):
            rows, columns = np.nonzero(mask[plane])
            own = [box for kind, box in figures if kind == name]
            assert bool(own) == bool(rows.size)
            if own:
                assert min(box.x0 for box in own) == columns.min()
                assert min(box.y0 for box in own) == rows.min()
                assert max(box.x1 for box in own) == columns.max()
                assert max(box.y1 for box in own) == rows.max()


def test_boxes_of_another_format_are_refused() -> None:
    source = open_source("scenes:3")
    with pytest.raises(UsageError, match="scenes"):
        boxes(source, source.entries[0])


def test_a_folder_gives_the_splits_and_leaves_smaller_files_and_other_data_sets_alone(tmp_path: Path) -> None:
    name = "PurdueShapes5MultiObject"
    for kind, count in (("12-train", 12), ("2-train", 2), ("5-test", 5)):
        write_purdue_shapes(tmp_path / f"{name}-{kind}.gz", count)
    (tmp_path / "PurdueShapes5-10000-train.gz").write_bytes(b"another data set")
    (tmp_path / "README").write_text("words")
    source = open_source(str(tmp_path))
    assert source.format == "purdue-shapes"
    assert [entry.split for entry in source.entries] == ["train"] * 12 + ["test"] * 5
    assert {entry.planes["image"].name for entry in source.entries} == {f"{name}-12-train.gz", f"{name}-5-test.gz"}
    assert any(f"{name}-2-train.gz" in note for note in source.notes)
    images = {source.load(entry).image.tobytes() for entry in source.entries}
    assert len(images) == 17, "no picture is in two splits"


def test_files_of_other_names_make_a_folder_too(tmp_path: Path) -> None:
    for split in ("train", "valid", "TEST"):
        write_purdue_shapes(tmp_path / f"mine_{split}.GZ", 3)
    assert [entry.split for entry in open_source(str(tmp_path)).entries] == 3 * ["train"] + 3 * ["val"] + 3 * ["test"]


def test_mask_options_change_nothing_and_say_so(tmp_path: Path) -> None:
    file = write(tmp_path / "x.gz", ([sample()], LABELS))
    source = open_source(str(file), DataOptions(invert_masks=True))
    assert any("--invert-masks" in note for note in source.notes)
    mask = source.load(source.entries[0]).mask
    assert mask is not None
    assert mask.sum() == 121


def changed(change: Callable[[list[Any]], Any]) -> list[Any]:
    one = sample()
    return change(one) or one


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (changed(lambda s: s.pop()), "list of five"),
        (changed(lambda s: s[0].pop()), "4,095 numbers in R"),
        (changed(lambda s: s[1].__setitem__(7, 256)), "whole numbers from 0 to 255 in G"),
        (changed(lambda s: s[1].__setitem__(7, -1)), "whole numbers from 0 to 255 in G"),
        (changed(lambda s: s[2].__setitem__(7, 0.5)), "whole numbers from 0 to 255 in B"),
        (changed(lambda s: s.__setitem__(2, None)), "no list of numbers as B"),
        (changed(lambda s: s.__setitem__(3, s[3][:4])), r"shape \(4, 64, 64\)"),
        (changed(lambda s: s.__setitem__(3, [1, 2])), "no array as mask"),
        (changed(lambda s: s[3].__setitem__((2, 3, 4), 50)), "value 50 in plane 2 .* disk and holds 0 and 150"),
        (None, "list of five"),
        (7, "list of five"),
    ],
)
def test_a_broken_sample_is_a_fault_and_the_others_load(tmp_path: Path, broken: Any, words: str) -> None:
    if isinstance(broken, int):  # what pop() returned, or no list at all
        broken = sample()[:4]
    file = write(tmp_path / "x.gz", ([sample(1), broken, sample(2)], LABELS))
    source = open_source(str(file))
    assert [fault.fatal for fault in source.faults] == [True]
    assert source.load(source.entries[0]).image.max() == 203
    assert source.load(source.entries[2]).image.max() == 204
    with pytest.raises(DataError, match=rf"x\.gz, sample 1: .*{words}"):
        source.load(source.entries[1])


@pytest.mark.parametrize(
    "wrong", [None, {7: []}, {50: 3}, {50: [[1, 2, 3]]}, {50: [[5, 1, 2, 9]]}, {50: [[0, 0, 1, 10**15]]}, {"x": []}]
)
def test_wrong_boxes_are_said_and_cost_no_sample(tmp_path: Path, wrong: Any) -> None:
    one = [*sample()[:4], wrong]
    source = open_source(str(write(tmp_path / "x.gz", ([one], LABELS))))
    assert [fault.fatal for fault in source.faults] == [False]
    assert boxes(source, source.entries[0]) == ()
    assert source.load(source.entries[0]).image.max() == 202


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        ([sample()], "no pair"),
        (([], LABELS), "holds no sample"),
        (("text", LABELS), "no list of samples"),
        (([sample()], {"disk": 150}), "label map of 5 names"),
        (([sample()], {**LABELS, "star": 50}), "label map of 5 names"),
        (([sample()], [1]), "no pair"),
        ({"a": 1}, "no pair"),
        (([[0] * 1024, [0] * 1024, [0] * 1024, [1, 2, 3, 4], 2], {"a": 0}), "label map of 5 names"),
    ],
)
def test_other_pickles_are_refused_with_what_was_expected(tmp_path: Path, whole: Any, words: str) -> None:
    with pytest.raises(DataError, match=rf"x\.gz.*{words}"):
        open_source(str(write(tmp_path / "x.gz", whole)))


def test_truncated_damaged_empty_and_uncompressed_files_are_named(tmp_path: Path) -> None:
    write_purdue_shapes(tmp_path / "good-train.gz", 20)
    good = (tmp_path / "good-train.gz").read_bytes()
    file = tmp_path / "PurdueShapes5MultiObject-20-train.gz"
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    for content, words in (
        (good[: len(good) // 2], "truncated"),
        (good[:-4], "truncated"),
        (good[:3], "truncated"),
        (b"", "empty"),
        (pickle.dumps(([sample()], LABELS), 2), "not compressed with gzip"),
        (bytes(flipped), ""),
        (good[:-8] + b"\0" * 8, "damaged"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=rf"20-train\.gz.*{words}"):
            open_source(str(file))
    with pytest.raises(DataError, match="not there"):
        open_source(str(tmp_path / "PurdueShapes5MultiObject-none.gz"), DataOptions(format="purdue-shapes"))


# --- hostile files ---


class Calls:
    """Pickles to a call of anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def in_dataset(steps: bytes) -> bytes:
    """Return a pickle whose dataset is what the steps push."""
    return b"\x80\x02" + steps + b"}\x86."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
UINT8 = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def array_of(shape: bytes, data: bytes, kind: bytes = UINT8) -> bytes:
    return ARRAY + b"(K\x01" + shape + kind + b"\x89" + data + b"tb"


HOSTILE = {
    "os.system": (in_dataset(b"cos\nsystem\n(U\x10touch HOSTILE_RANtR"), r"names 'os\.system'"),
    "posix.system": (in_dataset(b"cposix\nsystem\n(U\x10touch HOSTILE_RANtR"), r"names 'posix\.system'"),
    "eval": (in_dataset(b"c__builtin__\neval\n(U\x01\x31tR"), "names '__builtin__.eval'"),
    "builtins by stack": (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x01x\x85R}\x86.", "names 'builtins.exec'"),
    "getattr": (in_dataset(b"c__builtin__\ngetattr\n"), "names '__builtin__.getattr'"),
    "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93}\x86.", r"names 'numpy\.ndarray\.__new__"),
    "f2py": (in_dataset(b"cnumpy.testing._private.utils\nrunstring\n"), "names 'numpy.testing"),
    "memmap": (in_dataset(b"cnumpy\nmemmap\n"), "names 'numpy.memmap'"),
    "instance": (in_dataset(b"(U\x10touch HOSTILE_RANios\nsystem\n"), "instance of a class"),
    "object": (in_dataset(b"(cnumpy\nndarray\nK\x01o"), "instance of a class"),
    "newobj": (in_dataset(b"cnumpy\nndarray\n)\x81"), "instance of a class"),
    "newobj_ex": (b"\x80\x04cnumpy\nndarray\n)}\x92}\x86.", "instance of a class"),
    "persistent id": (in_dataset(b"Ppayload\n"), "persistent id"),
    "binary persistent id": (in_dataset(b"U\x01xQ"), "persistent id"),
    "extension": (in_dataset(b"\x82\x01"), "extension registry"),
    "set": (b"\x80\x04\x8f}\x86.", "a set"),
    "buffer": (b"\x80\x05\x97}\x86.", "buffer from outside"),
    "duplicate": (in_dataset(b"]2a"), "copied reference"),
    "unknown step": (in_dataset(b"\xff"), "unknown step"),
    "reconstruct of another class": (
        in_dataset(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(K\x00tU\x01btR"),
        "other arguments",
    ),
    "calling the array class": (in_dataset(b"cnumpy\nndarray\n((J\xff\xff\xff\x7ftU\x01btR"), "other arguments"),
    "calling a list": (in_dataset(b"])R"), "calls what is no plain data"),
    "nested call": (in_dataset(b"cnumpy\ndtype\n(cos\nsystem\n(U\x10touch HOSTILE_RANtRtR"), r"names 'os\.system'"),
    "encode with another codec": (in_dataset(b"c_codecs\nencode\n(X\x01\0\0\0xX\x06\0\0\0bz2_cotR"), "other arguments"),
    "object dtype": (in_dataset(b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR"), "type 'O8'"),
    "structured dtype": (in_dataset(b"cnumpy\ndtype\n(U\x02V8K\x00K\x01tR"), "type 'V8'"),
    "dtype with fields": (
        in_dataset(b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|N(U\x01at}J\x01\0\0\0K\x01K\x00tb"),
        "no array of numbers",
    ),
    "floats": (
        in_dataset(array_of(b"K\x01\x85", b"U\x04\0\0\0\0", b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR")),
        "type 'f4'",
    ),
    "wide integers": (
        in_dataset(array_of(b"K\x01\x85", b"U\x04\0\0\0\0", b"cnumpy\ndtype\n(U\x02u4K\x00K\x01tR")),
        "type 'u4'",
    ),
    "huge array": (in_dataset(array_of(b"J\0\0\x10\0J\0\0\x10\0\x86", b"U\x01x")), "claims 1,099,511,627,776 values"),
    "huge side": (in_dataset(array_of(b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85", b"U\x01x")), "no image has"),
    "negative side": (in_dataset(array_of(b"J\xff\xff\xff\xff\x85", b"U\x01x")), "no image has"),
    "state of a list": (in_dataset(b"]}U\x01xK\x01sb"), "state of what is no array"),
    "state of a dict": (in_dataset(b"}}U\x0c__setstate__K\x01sb"), ""),
    "state of the array class": (in_dataset(b"cnumpy\nndarray\n}b"), "state of what is no array"),
    "array of objects in a list": (in_dataset(ARRAY + b"(K\x01K\x01\x85" + UINT8 + b"\x89]tb"), "no array of numbers"),
    "huge string": (in_dataset(b"T\xff\xff\xff\x7f"), "claims a string of 2,147,483,647 bytes"),
    "negative string": (in_dataset(b"T\xff\xff\xff\xff"), "claims a string"),
    "huge bytes": (b"\x80\x04\x8e" + b"\xff" * 8, "claims a string"),
    "huge number": (in_dataset(b"\x8b\xff\xff\xff\x7f"), "number of 2147483647 bytes"),
    "long decimal": (in_dataset(b"L" + b"9" * 10_000 + b"L\n"), "20 digits"),
    "memory at the far end, then nothing": (in_dataset(b"]r\xff\xff\xff\xffj\xfe\xff\xff\xff"), "never remembered"),
    "empty stack": (b"\x80\x02R.", "more from the stack"),
    "no mark": (b"\x80\x02t.", "mark that is not there"),
    "key that is a list": (b"\x80\x02}(])u.", "keys are neither"),
    "odd dict": (b"\x80\x02}(K\x01u.", "key and no value"),
    "marks without end": (b"\x80\x02" + b"(" * 1_100_000, "piles up"),
    "depth without end": (b"\x80\x02" + b"]" * 1_100_000, "piles up"),
    "name that is no text": (b"\x80\x04" + b")" + b"\x85" * 200_000 + b"K\x01\x93}\x86.", "no text"),
    "tuples without end": (b"\x80\x02)" + b"\x85" * 200_000 + b"}\x86.", "no list of samples|label map"),
    "lists without end": (b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"}\x86.", "label map"),
    "lists around an array's state": (b"\x80\x02" + ARRAY + b"]" * 200_000 + b"a" * 199_999 + b"b}\x86.", "no array"),
    "label of control characters": (
        b"\x80\x02]}" + b"(" + b"".join(b"U\x02\x1b%cK%c" % (i, i) for i in b"abcde") + b"u\x86.",
        "label map",
    ),
    "nothing": (b".", "no single object"),
    "line without end": (b"\x80\x02I" + b"1" * 6_000_000, "line of more than"),
    "list without end": (b"\x80\x02](" + b"K\x01" * 2_000_000 + b"e.", "the limit"),
    "list without end in text": (b"(l" + b"I1\na" * 2_000_000 + b".", "list of more than"),
    "list without end in batches": (b"\x80\x02]" + (b"(" + b"K\x01" * 1000 + b"e") * 2000 + b".", "list of more than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    content, words = HOSTILE[name]
    file = write(tmp_path / "x.pkl.gz", content)
    with pytest.raises(DataError, match=rf"x\.pkl\.gz.*{words}"):
        open_source(str(file))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["x.pkl.gz"]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["dataset", "channel", "mask", "box", "label"])
def test_a_call_is_refused_wherever_it_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    call, one, labels = Calls(os.system, "touch HOSTILE_RAN"), sample(), dict(LABELS)
    dataset: Any = [one]
    if where == "dataset":
        dataset = call
    elif where == "channel":
        one[0][5] = call
    elif where == "mask":
        one[3] = call
    elif where == "box":
        one[4][50] = call
    else:
        labels["star"] = call  # type: ignore[assignment]
    with pytest.raises(DataError, match="no plain data"):
        open_source(str(write(tmp_path / "x.gz", (dataset, labels), protocol)))
    assert not (tmp_path / "HOSTILE_RAN").exists()


def test_an_object_array_is_refused(tmp_path: Path) -> None:
    one = sample()
    one[3] = np.array([Calls(os.system, "true"), None], dtype=object)
    with pytest.raises(DataError, match=r"uint8 was expected|no plain data"):
        open_source(str(write(tmp_path / "x.gz", ([one], LABELS))))


def test_a_list_that_contains_itself_ends(tmp_path: Path) -> None:
    dataset: list[Any] = []
    dataset.append(dataset)
    source = open_source(str(write(tmp_path / "x.gz", (dataset, LABELS))))
    with pytest.raises(DataError, match="list of five"):
        source.load(source.entries[0])


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("MAX_READ", 100_000, "unpacks to more"), ("MAX_KEPT", 100_000, "objects of more"), ("MAX_STEPS", 50, "50 steps")],
)
def test_a_small_file_cannot_ask_for_a_large_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, words: str
) -> None:
    file = tmp_path / "x.gz"
    write_purdue_shapes(file, 60)
    assert len(open_source(str(file)).entries) == 60
    monkeypatch.setattr(plain_input if limit == "MAX_READ" else plain_pickle, limit, value)
    with pytest.raises(DataError, match=words):
        open_source(str(file))


def test_a_bomb_of_recalled_lists_stays_small(tmp_path: Path) -> None:
    """Each list holds the one before twice: 2 ** 60 numbers if anybody walked through them."""
    steps = b"]q\x00K\x01a" + b"".join(
        b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)
    )
    with pytest.raises(DataError):
        open_source(str(write(tmp_path / "x.gz", in_dataset(steps))))


def test_any_damage_inside_ends_in_a_data_error_or_in_samples(tmp_path: Path) -> None:
    good = pickle.dumps(([sample()], LABELS), 2)
    spots = np.random.default_rng(0)
    # The long runs of numbers and of the mask are of little interest: most hits go to what stands between them.
    between = [i for i in range(len(good)) if not 300 < i % 8200 < 7900]
    for attempt in range(400):
        broken = bytearray(good)
        for place in spots.choice(between, 1 + attempt % 3):
            broken[place] = spots.integers(256)
        try:
            source = open_source(str(write(tmp_path / "x.gz", bytes(broken))), DataOptions(format="purdue-shapes"))
            for entry in source.entries:
                source.load(entry)
        except DataError as error:
            assert "x.gz" in str(error)  # noqa: PT017 - most attempts raise, and some do not
