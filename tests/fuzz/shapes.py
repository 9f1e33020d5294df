"""Documents of any shape, for hypothesis: from nothing, and good ones with some places changed."""

# ruff: noqa: E501
from __future__ import annotations

import copy
import csv
import io
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

# What a reader may trip over wherever a text is expected; the last three look like other types.
ODD_TEXTS = (
    "", " ", ".", "..", "/", "../../x.png", "/dev/zero", "\0", "a\0b", "\ud800", "\u202egnp", "é", "e\u0301", "a\nb", "a\tb",
    "<script>alert(1)</script>", "{0}", "%s", "[red]x", "a" * 300, "C:\\x", "~", "=1", "1:30", "nan", "1e999",
)  # fmt: skip
ODD_NUMBERS = (0, 1, -1, 2**31, 2**63, -(2**70), 10**400, 0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, 1.5)

texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers(-3, 300) | st.sampled_from(ODD_NUMBERS) | texts
anything = st.recursive(
    scalars, lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4), max_leaves=10
)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """Return a document of which one to three places hold something else, stand twice, are gone, or are new."""
    new = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        node = new
        while isinstance(node, (dict, list)) and node:
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
            if isinstance(node[key], (dict, list)) and node[key] and draw(st.integers(0, 3)):
                node = node[key]
                continue
            match draw(st.sampled_from(("put", "put", "put", "remove", "add"))):
                case "put":
                    node[key] = draw(anything)
                case "remove":
                    del node[key]
                case _ if isinstance(node, dict):
                    node[draw(texts)] = draw(anything)
                case _:
                    node.insert(key, draw(st.just(copy.deepcopy(node[key])) | anything))
            break
    return new


def tables(columns: Sequence[str], cells: Sequence[str]) -> st.SearchStrategy[list[list[str]]]:
    """Return tables with a line of column names, in any number and order, and lines with more or fewer cells."""
    cell = st.sampled_from(cells) | st.sampled_from(cells) | texts
    names = st.permutations(columns) | st.lists(st.sampled_from(columns) | texts, max_size=8)
    lines = st.lists(
        st.lists(cell, min_size=len(columns), max_size=len(columns)) | st.lists(cell, max_size=6), max_size=5
    )
    return st.builds(lambda first, rest: [list(first), *rest], names, lines)


def as_csv(table: Sequence[Sequence[str]], separator: str, quoted: bool, ends: str) -> bytes:
    """Return a table as a file, where it is not quoted even such that its cells break it."""
    if not quoted:
        return ends.join(separator.join(line) for line in table).encode("utf-8", "surrogatepass")
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator=ends, quoting=csv.QUOTE_ALL).writerows(table)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def csv_files(columns: Sequence[str], cells: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Return such tables as files, written in every way that programs write them, and noise."""
    written = st.builds(
        as_csv,
        tables(columns, cells),
        st.sampled_from((",", ",", ";", "\t")),
        st.booleans(),
        st.sampled_from(("\n", "\r\n", "\r")),
    )
    return written | written.map(lambda data: b"\xef\xbb\xbf" + data) | st.binary(max_size=60)
