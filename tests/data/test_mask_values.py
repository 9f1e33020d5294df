from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basrelief.data.decode import FileError
from basrelief.data.mask_values import OTHER, parse_mask_map, read_class_names
from basrelief.errors import UsageError

NAMES = st.text(st.characters(whitelist_categories=("L", "Nd"), whitelist_characters="_-"), min_size=1, max_size=12)


@given(st.dictionaries(st.integers(0, 65535), NAMES, min_size=1, max_size=8))
def test_mask_maps_round_trip(mapping):
    text = ",".join(f"{value}={name}" for value, name in mapping.items())
    assert parse_mask_map(text) == mapping
    assert parse_mask_map(text.replace(",", " , ").replace("=", " = ")) == mapping


@given(st.text(max_size=30))
def test_any_text_gives_a_map_or_a_usage_error(text):
    try:
        mapping = parse_mask_map(text)
    except UsageError:
        pass
    else:
        assert mapping
        assert all(value >= OTHER and name for value, name in mapping.items())


@pytest.mark.parametrize("piece", ["255", "a=b", "=x", "3=", "1=a=b", "#12=x", "-1=x", "1.5=x", "#gggggg=x", ""])
def test_the_bad_piece_is_shown(piece):
    with pytest.raises(UsageError, match=r"not VALUE=NAME; expected") as caught:
        parse_mask_map(f"0=background,{piece}")
    assert repr(piece) in str(caught.value)


def test_a_value_named_twice_is_refused():
    with pytest.raises(UsageError, match=r"'0=b'.*second time"):
        parse_mask_map("0=a,0=b")


def test_a_class_named_twice(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(FileError, match=r"classes\.txt.*'cat' twice"):
        read_class_names(tmp_path / "classes.txt")
