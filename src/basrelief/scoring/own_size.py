"""Going through the samples of a source that count, with what one or several networks say of each."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from basrelief.batch import Sample
from basrelief.data.resize import resize_image
from basrelief.data.source import Entry, Source
from basrelief.data.store import hash_image, load_to_pack
from basrelief.errors import DataError
from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import Predictor
from basrelief.scoring.fit import Fit
from basrelief.scoring.sample_scores import SampleScores, score_sample

AHEAD = 2  # samples that are decoded while the networks are at work


@dataclass(frozen=True)
class Selection:
    """Which samples count.

    Attributes
    ----------
    wanted
        Id -> the image's hash (``hash_image``) at ``resolution``; None in its place: any image of that name. None: all.
        One that is not there, or is another image now, counts as failed.
    resolution
        Of the hashes of ``wanted``.
    seen
        Resolution -> hashes there of images that a network was trained on or chosen by; they are left out.
    groups
        Id -> label, equal for images that belong together; one that it lacks belongs with no other.
    """

    wanted: Mapping[str, str | None] | None = None
    resolution: tuple[int, int] = (0, 0)
    seen: Mapping[tuple[int, int], frozenset[str]] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)

    def group_of(self, name: str) -> str:
        """Return the label of the images that this one belongs with."""
        return f"group {self.groups[name]}" if name in self.groups else f"image {name}"


@dataclass
class Tally:
    """What was left out: how many images seen in training, and what failed, by sample, with the reason."""

    seen: int = 0
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredSample:
    """One sample, and of each network what it says of it and how that scores."""

    entry: Entry
    sample: Sample
    results: Sequence[Prediction]
    scores: Sequence[SampleScores]


def score_samples(
    networks: Sequence[tuple[Predictor, Fit]],
    source: Source,
    selection: Selection,
    tally: Tally,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[ScoredSample]:
    """Yield the samples that count, one at a time; a thread decodes the next ones meanwhile.

    Raises
    ------
    DataError
        When no sample could be scored, at the end.
    """
    wanted = selection.wanted
    entries = [entry for entry in source.entries if wanted is None or entry.id in wanted]
    for name in (wanted or {}).keys() - {entry.id for entry in entries}:
        tally.failed[name] = f"{name}: is no longer in {source.location}."
    count = 0
    for number, (entry, found) in enumerate(_decoded(source, entries, selection), 1):
        if found is None:
            tally.seen += 1
        elif isinstance(found, DataError):
            tally.failed[entry.id] = str(found)
        else:
            results = [predictor(found.image, found.background) for predictor, _ in networks]
            scores = [
                score_sample(predictor, found, result, fit)
                for (predictor, fit), result in zip(networks, results, strict=True)
            ]
            count += 1
            yield ScoredSample(entry, found, results, scores)
        if progress:
            progress(number, len(entries))
    if not count:
        why = " ".join(list(tally.failed.values())[:3]) or f"{tally.seen} of them were seen in training."
        raise DataError(f"{source.location}: none of its samples could be scored. {why}")


def _decoded(
    source: Source, entries: Sequence[Entry], selection: Selection
) -> Iterator[tuple[Entry, Sample | DataError | None]]:
    """Yield each entry with its sample, with what is wrong with it, or with None where it was seen in training."""

    def decode(entry: Entry) -> Sample | DataError | None:
        try:
            return _decode(source, entry, selection)
        except DataError as error:
            return error

    # One thread, since a format need not stand several.
    with ThreadPoolExecutor(1, "basrelief-decode") as pool:
        waiting: deque[tuple[Entry, Future[Sample | DataError | None]]] = deque()
        try:
            for entry in entries:
                waiting.append((entry, pool.submit(decode, entry)))
                if len(waiting) > AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _decode(source: Source, entry: Entry, selection: Selection) -> Sample | DataError | None:
    expected = None if selection.wanted is None else selection.wanted[entry.id]
    resolutions = set(selection.seen) | ({selection.resolution} if expected is not None else set())
    # The hash is cheap where a format decodes a part of a file alone; else the sample is needed whole, once.
    whole = source.load(entry) if resolutions and source.load_near is None else None
    hashes = {size: _packed_hash(source, entry, size, whole) for size in resolutions}
    if any(hashes[size] in seen for size, seen in selection.seen.items()):
        return None
    if expected is not None and hashes[selection.resolution] != expected:
        name = entry.planes.get("image", entry.id)
        return DataError(f"{name}: is another image than when the network was trained. Put it back.")
    return whole or source.load(entry)


def _packed_hash(source: Source, entry: Entry, resolution: tuple[int, int], whole: Sample | None) -> str:
    """Return the hash that the image has in a store at this resolution."""
    if whole is not None:
        return hash_image(resize_image(whole.image, resolution))
    alone = dataclasses.replace(entry, planes={plane: file for plane, file in entry.planes.items() if plane == "image"})
    return hash_image(load_to_pack(source, alone, resolution).sample.image)
