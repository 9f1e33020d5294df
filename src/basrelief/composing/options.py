"""What a user may ask of composing, and which of it makes no sense."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from basrelief.data.source import DataOptions
from basrelief.errors import UsageError

SMALLEST_FIGURE = 8  # pixels


@dataclass(frozen=True)
class ComposeOptions:
    """What to compose and how; see ``docs/compose.md``.

    Attributes
    ----------
    backgrounds, foregrounds, depths
        Folders. ``depths`` None: no depth from the backgrounds.
    depth
        How depth is stored in ``depths``.
    resolution
        (height, width) of composites.
    positions, mirror
        How often each pair of background and foreground is composed: so many positions, mirrored as well or not.
    smallest, largest
        Longest side of a figure, as a share of the picture's shorter side.
    shadow, harmonise, misalign
        As in ``Recipe``.
    split, group_blocks
        Shares of train, val and test, or "random"; blocks of neighbouring backgrounds to keep whole.
    limit
        Composites at most.
    skip_broken
        Leave out files that cannot be used.
    seed
        Not negative.
    """

    backgrounds: Path
    foregrounds: Path
    depths: Path | None = None
    depth: DataOptions = field(default_factory=DataOptions)
    resolution: tuple[int, int] = (224, 224)
    positions: int = 1
    mirror: bool = False
    smallest: float = 0.2
    largest: float = 0.53
    shadow: bool = False
    harmonise: bool = False
    misalign: float = 0.0
    split: str = "70/15/15"
    group_blocks: int | None = None
    limit: int | None = None
    skip_broken: bool = False
    seed: int = 0


def check_options(options: ComposeOptions) -> None:
    """Raise a UsageError that names the first option that makes no sense."""
    height, width = options.resolution
    short = min(height, width)
    if not 16 <= short <= max(height, width) <= 8192:
        raise UsageError(f"--resolution {height}x{width}: expected sides of 16 to 8192 pixels.")
    if not 0 < options.smallest <= options.largest <= 1:
        raise UsageError(
            f"--min-size {options.smallest:g} and --max-size {options.largest:g}: expected shares of the picture's "
            "shorter side, the first not above the second, such as 0.2 and 0.53."
        )
    if options.smallest * short < SMALLEST_FIGURE:
        raise UsageError(
            f"--min-size {options.smallest:g} is {options.smallest * short:.1f} pixels at {width} × {height}, too "
            f"small to see. Expected {SMALLEST_FIGURE / short:.2g} or more."
        )
    if not 0 <= options.misalign <= short / 8:
        raise UsageError(f"--misalign {options.misalign:g}: expected 0 to {short // 8} pixels at {width} × {height}.")
    for name, value in (
        ("positions", options.positions),
        ("limit", options.limit),
        ("group-blocks", options.group_blocks),
    ):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}: expected 1 or more.")
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: expected 0 or a positive whole number.")
    stated = [
        f"--{name.replace('_', '-')}"
        for name in ("depth_scale", "depth_unit", "depth_invalid")
        if getattr(options.depth, name)
    ]
    if stated and options.depths is None:
        raise UsageError(f"{', '.join(stated)}: these say how --depths is stored, and there is no --depths.")
