from hypothesis import given
from hypothesis import strategies as st

from basrelief.data.folder_layout import natural


@given(st.lists(st.integers(0, 10**6), max_size=8), st.text(max_size=4))
def test_natural_order_is_that_of_the_numbers(numbers, word):
    names = [f"{word}-{number}.{word}" for number in numbers]
    assert sorted(names, key=natural) == [f"{word}-{number}.{word}" for number in sorted(numbers)]


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_names_can_be_sorted(names):
    assert sorted(sorted(names, key=natural)) == sorted(names)
