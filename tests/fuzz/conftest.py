"""What the attacks share: every test here is one of the faults suite, with a short form and a long one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import rounds as lengths

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Have hypothesis try as many examples as the form has."""
    same = not lengths.is_long(config)  # within the whole suite, the same examples at every run
    settings.register_profile(
        "attacks", max_examples=lengths.rounds(config, 60, 20_000), database=None, deadline=None, derandomize=same
    )
    settings.register_profile(
        "structures",  # an example writes files and opens data, which is slow by hypothesis' standards
        max_examples=lengths.rounds(config, 20, 3_000),
        database=None,
        deadline=None,
        derandomize=same,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("attacks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether this is the long form."""
    return lengths.is_long(pytestconfig)


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """Chooses between the number of rounds of the short form and of the long one."""
    return lambda short, long: lengths.rounds(pytestconfig, short, long)
