from hypothesis import given
from hypothesis import strategies as st

from basrelief.data.folder_facts import spread


@given(st.integers(0, 500), st.integers(1, 100))
def test_spread_keeps_order_and_count(length, count):
    found = spread(range(length), count)
    assert len(found) == min(length, count)
    assert list(found) == sorted(set(found))
