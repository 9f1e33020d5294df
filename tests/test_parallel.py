from __future__ import annotations

import os

import pytest

from basrelief.parallel import ordered_map


def number_and_process(number: int) -> tuple[int, int]:
    return number, os.getpid()


def fail_at_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"item {number}")
    return number


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_come_in_the_order_of_the_items_and_this_process_works_too(jobs: int) -> None:
    found = list(ordered_map(number_and_process, range(200), jobs=jobs))
    assert [number for number, _ in found] == list(range(200))
    processes = {process for _, process in found}
    assert os.getpid() in processes
    assert len(processes) <= jobs


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_failure_is_raised_whatever_the_number_of_processes(jobs: int) -> None:
    items = [1, 1, 1, *range(3, 60)]  # this process meets 3 while the other starts
    with pytest.raises(ValueError, match=r"^item 1$"):
        list(ordered_map(fail_at_odd, items, jobs=jobs))
