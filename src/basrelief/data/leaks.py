"""What stands on both sides of a split: the same image, one that looks like it, a background, a figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from basrelief.data.beside import is_composed
from basrelief.data.near import DISTANCE, count_bits, look_alike, pairs_within
from basrelief.data.source import SPLITS, Entry, Fault
from basrelief.data.splits import Split

LISTED = 20  # clusters that are listed; all are counted
IDS_LISTED = 12  # of a cluster
EXAMPLES = 8  # pairs across splits
_LOOKED_THROUGH = 64  # members of a cluster among which the nearest pair is looked for
_NEIGHBOURS = 5  # images so near each other in the order of their names are taken from one film
_BUFFER = 2**16  # pairs joined to clusters at once
_FAR = 2**62

TRAIN = 1  # flags of splits
_FLAGS = {split: 1 << place for place, split in enumerate(SPLITS)}


@dataclass(frozen=True)
class Looks:
    """What is known of the usable samples, one entry each.

    Attributes
    ----------
    entries
        As listed.
    digests
        Of the decoded image: equal for equal images.
    backgrounds
        Of the decoded background; None where there is none.
    hashes
        uint64 (N,), the perceptual hash; 0 where ``hashed`` is False, for images without contrast.
    colours
        uint8 (N, 192), the image in small.
    hashed
        bool (N,).
    """

    entries: Sequence[Entry]
    digests: Sequence[bytes]
    backgrounds: Sequence[bytes | None]
    hashes: np.ndarray
    colours: np.ndarray
    hashed: np.ndarray


def groups_of(looks: Looks) -> np.ndarray:
    """Return a number for each sample, equal for those of one group, one background or one image."""
    count = len(looks.entries)
    labels = np.arange(count)
    columns: Sequence[Iterable[Hashable]] = (
        [entry.group for entry in looks.entries],
        looks.backgrounds,
        looks.digests,
    )
    for column in columns:
        first: dict[Hashable, int] = {}
        same = [(first.setdefault(label, i), i) for i, label in enumerate(column) if label is not None]
        if same:
            edges = np.array(same)
            labels = _join(labels, edges[:, 0], edges[:, 1])
    return labels


def find_leaks(looks: Looks, split: Split | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what looks alike, and what of it stands on both sides of the split, as plain data.

    Returns
    -------
    near_duplicates
        "distance" (bits that may differ), "clusters" and "images" (how many, leaving out what one group or one
        background already holds together), "across" (clusters with samples in several splits), "without_contrast"
        (images that could not be compared) and "listed": the first clusters, those across splits first, each with
        "ids", "count", "splits" and the nearest "pair".
    leaks
        For "val" and "test": "images", those that are the "same" as a training image, and further ones that look
        "similar" to one. "examples": (id, training id, bits that differ). "backgrounds" and "foregrounds": how many
        stand in several splits. "neighbours": whether those alike are neighbours in the order of the names. Empty
        without a split.
    """
    names = split.names() if split is not None else [""] * len(looks.entries)
    flags = np.array([_FLAGS.get(name, 0) for name in names], dtype=np.int64)
    groups = groups_of(looks)
    if split is not None:
        groups = _join(groups, *_same(split.groups))
    samples = np.flatnonzero(looks.hashed)
    members, inverse = _nodes(looks.hashes[samples], looks.colours[samples])
    values, colours = looks.hashes[samples][members], looks.colours[samples][members]
    held = np.zeros(len(values), dtype=np.int64)
    np.bitwise_or.at(held, inverse, flags[samples])
    lowest, highest = np.full(len(values), len(groups)), np.full(len(values), -1)
    np.minimum.at(lowest, inverse, groups[samples])
    np.maximum.at(highest, inverse, groups[samples])
    group = np.where(lowest == highest, lowest, -1)  # -1: of several groups

    # For each picture the nearest one that a training image has: bits that differ, and below them its place.
    nearest = np.where(held & TRAIN, np.arange(len(values)), _FAR)
    labels = np.arange(len(values))
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    for first, second in pairs_within(values):
        key = count_bits(values[first] ^ values[second]) << 32
        forth = (held[first] > TRAIN) & (held[second] & TRAIN > 0) & (key + second < nearest[first])
        back = (held[second] > TRAIN) & (held[first] & TRAIN > 0) & (key + first < nearest[second])
        apart = (labels[first] != labels[second]) & ((group[first] != group[second]) | (group[first] < 0))
        useful = np.flatnonzero(forth | back | apart)  # only these are worth a second look
        useful = useful[look_alike(colours[first[useful]], colours[second[useful]])]
        if not useful.size:
            continue
        first, second, key = first[useful], second[useful], key[useful]
        np.minimum.at(nearest, first[forth[useful]], (key + second)[forth[useful]])
        np.minimum.at(nearest, second[back[useful]], (key + first)[back[useful]])
        waiting.append((first[apart[useful]], second[apart[useful]]))
        if sum(len(pair[0]) for pair in waiting) > _BUFFER:
            labels, waiting = _join_all(labels, waiting), []
    labels = _join_all(labels, waiting)
    near = _clusters(looks, samples, inverse, labels, group, groups, names)
    if split is None:
        return near, {}
    return near, _across(looks, samples, inverse, nearest, names)


def _nodes(hashes: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a representative of every hash and small picture, and of each sample the place of its own.

    Samples of one hash stand for one picture where they look like the first of them, or the first that did not, and so
    on: so thousands of equal hashes are not compared with each other.
    """
    _, inverse = np.unique(hashes, return_inverse=True)
    waiting = np.arange(len(hashes))
    members: list[np.ndarray] = []
    places = np.zeros(len(hashes), dtype=np.int64)
    count = 0
    while waiting.size:
        _, first, own = np.unique(inverse[waiting], return_index=True, return_inverse=True)
        heads = waiting[first]
        alike = look_alike(colours[heads[own]], colours[waiting])
        alike[first] = True
        places[waiting[alike]] = count + own[alike]
        members.append(heads)
        count += len(heads)
        waiting = waiting[~alike]
    return np.concatenate([*members, np.zeros(0, dtype=np.int64)]), places


def _same(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse], np.arange(len(labels))


def _join(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return labels of which those of each pair are one."""
    graph = coo_array((np.ones(len(first), dtype=np.int8), (labels[first], labels[second])), shape=(len(labels),) * 2)
    joined: np.ndarray = connected_components(graph, directed=False)[1][labels]
    return joined


def _join_all(labels: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    if not pairs:
        return labels
    return _join(labels, np.concatenate([first for first, _ in pairs]), np.concatenate([second for _, second in pairs]))


def _clusters(
    looks: Looks,
    samples: np.ndarray,
    inverse: np.ndarray,
    labels: np.ndarray,
    group: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
) -> dict[str, Any]:
    sizes = np.bincount(labels, minlength=1)
    several = np.zeros(len(sizes), dtype=bool)
    several[labels[group < 0]] = True  # one hash, several groups
    found = np.flatnonzero(several | (sizes > 1))
    members: dict[int, list[int]] = {int(label): [] for label in found}
    for sample, label in zip(samples.tolist(), labels[inverse].tolist(), strict=True):
        if label in members:
            members[label].append(sample)
    clusters = []
    for own in members.values():
        splits = sorted({names[i] for i in own if names[i]}, key=SPLITS.index)
        clusters.append((len(splits) < 2, -len(own), own, splits))
    clusters.sort(key=lambda cluster: (cluster[0], cluster[1], cluster[2][0]))
    listed = [
        {
            "ids": [looks.entries[i].id for i in own[:IDS_LISTED]],
            "count": len(own),
            "splits": splits,
            "pair": [looks.entries[i].id for i in _nearest_pair(own, looks.hashes, groups, names)],
        }
        for _, _, own, splits in clusters[:LISTED]
    ]
    return {
        "distance": DISTANCE,
        "clusters": len(clusters),
        "images": sum(len(own) for _, _, own, _ in clusters),
        "across": sum(len(splits) > 1 for _, _, _, splits in clusters),
        "without_contrast": int(np.count_nonzero(~looks.hashed)),
        "listed": listed,
    }


def _nearest_pair(
    members: Sequence[int], hashes: np.ndarray, groups: np.ndarray, names: Sequence[str]
) -> tuple[int, int]:
    """Return the two members of different groups, and if there are such of different splits, that differ least."""
    own = np.array(members[:_LOOKED_THROUGH])
    bits = count_bits(hashes[own][:, None] ^ hashes[own][None]).astype(np.float64)
    split = np.array([names[i] for i in own])
    bits[(groups[own][:, None] == groups[own]) | (np.arange(len(own))[:, None] >= np.arange(len(own)))] = np.inf
    apart = (split[:, None] != split) & (split[:, None] != "") & (split != "")
    place = int(np.where(apart, bits, bits + 1000).argmin())
    return int(own[place // len(own)]), int(own[place % len(own)])


def _across(
    looks: Looks,
    samples: np.ndarray,
    inverse: np.ndarray,
    nearest: np.ndarray,
    names: Sequence[str],
) -> dict[str, Any]:
    first_by_digest: dict[bytes, int] = {}
    for i, digest in enumerate(looks.digests):
        if names[i] == "train":
            first_by_digest.setdefault(digest, i)
    train_of: dict[int, int] = {}  # place of a hash -> a training sample that has it
    place_of = dict(zip(samples.tolist(), inverse.tolist(), strict=True))
    for i, place in place_of.items():
        if names[i] == "train":
            train_of.setdefault(place, i)
    leaks: dict[str, Any] = {}
    pairs: list[tuple[int, int, int]] = []
    for split in ("val", "test"):
        same = similar = 0
        for i, digest in enumerate(looks.digests):
            if names[i] != split:
                continue
            if digest in first_by_digest:
                same += 1
                pairs.append((i, first_by_digest[digest], 0))
            elif (place := place_of.get(i)) is not None and nearest[place] < _FAR:
                similar += 1
                pairs.append((i, train_of[int(nearest[place]) & (2**32 - 1)], int(nearest[place]) >> 32))
        leaks[split] = {"images": names.count(split), "same": same, "similar": similar}
    shown = [pairs[int(k)] for k in np.linspace(0, len(pairs) - 1, min(EXAMPLES, len(pairs)))]
    gaps = [abs(i - j) for i, j, _ in pairs]
    return {
        **leaks,
        "examples": [[looks.entries[i].id, looks.entries[j].id, bits] for i, j, bits in shown],
        "backgrounds": _in_several(looks.backgrounds, names),
        "foregrounds": _in_several([entry.foreground for entry in looks.entries], names),
        "neighbours": bool(gaps) and float(np.median(gaps)) <= _NEIGHBOURS,
    }


def _in_several(labels: Sequence[Hashable | None], names: Sequence[str]) -> int:
    splits: dict[Hashable, set[str]] = defaultdict(set)
    for label, name in zip(labels, names, strict=True):
        if label is not None and name:
            splits[label].add(name)
    return sum(len(found) > 1 for found in splits.values())


def leak_faults(location: str, leaks: dict[str, Any], rule: str) -> list[Fault]:
    """Return what the leaks mean, with the options that mend it."""
    if not leaks:
        return []
    faults = []
    divided = rule == "as the data comes"
    again = "--split 70/15/15 " if divided else ""
    alike = {split: leaks[split]["same"] + leaks[split]["similar"] for split in ("test", "val")}
    if any(alike.values()):
        said = " and ".join(f"{alike[s]} of {leaks[s]['images']} {s} images" for s in alike if alike[s])
        if rule == "random":
            remedy = "Leave out --split random, so that groups stay together"
        elif divided and is_composed(location):
            remedy = (
                "Where the backgrounds are frames of a film, compose again with --group-blocks 10; otherwise take away "
                "backgrounds that are nearly the same"
            )
        elif leaks["neighbours"]:
            remedy = f"They are neighbours, as in a film: {again}--group-blocks 10 keeps neighbours together"
        else:
            remedy = f"Name what belongs together in a CSV file with id and group: {again}--group-file FILE"
        faults.append(
            Fault(location, f"{said} look like a training image, so scores are too good", remedy, fatal=False)
        )
    for what in ("backgrounds", "foregrounds"):
        if leaks[what]:
            problem = f"{leaks[what]} {what} stand in more than one split, so that scores are too good for new ones"
            if rule == "random":
                remedy = "Leave out --split random, so that groups stay together"
            elif divided:
                remedy = "--split 70/15/15 divides anew, by group"
            else:
                remedy = f"Add {what}, or name what belongs together in a CSV file with id and group: --group-file FILE"
            faults.append(Fault(location, problem, remedy, fatal=False))
    return faults
