"""What a container allows of its host: CPU time and memory, as Linux's control groups say (versions 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
NO_LIMIT = 2**60  # version 1 writes a number beyond any memory where there is no limit


def cpu_quota(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Return how many CPUs' worth of time this process may use; None where nothing limits it."""
    quotas = []
    for folder in _folders(root, membership, "cpu"):
        limit, period = (*_words(folder / "cpu.max"), "", "")[:2]
        if not limit:
            limit, period = _word(folder / "cpu.cfs_quota_us"), _word(folder / "cpu.cfs_period_us")
        if limit.isdigit() and period.isdigit() and int(period):  # "max" and -1 are no limit
            quotas.append(int(limit) / int(period))
    return min(quotas, default=None)


def memory_left(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return how many bytes this process may still take before its group is killed; None where nothing limits it."""
    left = []
    for folder in _folders(root, membership, "memory"):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, taken = _word(folder / limit), _word(folder / used)
            if most.isdigit() and taken.isdigit() and int(most) < NO_LIMIT:
                # Files kept in memory count as used, but are given up when memory is wanted.
                words = _words(folder / "memory.stat")
                given = dict(zip(words[::2], words[1::2], strict=False)).get(cache, "0")
                left.append(max(0, int(most) - int(taken) + int(given)))
    return min(left, default=None)


def _folders(root: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's group and of those around it, whose limits hold as well."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",")
        if controllers and controller not in names:
            continue
        # Version 2 has one tree (no controllers named); version 1 one for each set of controllers.
        for top in [root] if not controllers else [root / controllers, root / controller]:
            folder = top / path.strip("/")
            inner = folder.relative_to(top)
            yield top
            yield from (top / part for part in (inner, *inner.parents) if part != Path())


def _word(path: Path) -> str:
    return (_words(path) or [""])[0]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return []
