"""From 4·10⁵ to 4·10⁸ quartets: hosts, hours, bytes, from what a sample costs on this machine.

    python benchmarks/scaling.py [--write docs/scaling.md] [--hosts 1,8,64] [--cores 64] [--gpus 0] [--side 64] …

First what a sample costs is measured here, in a few minutes (``scaling_costs.py``), or read with --costs FILE, where
--save FILE has put it; everything else is arithmetic with the options, and a simulation of a study's trials over hosts
(``scaling_study.py``). --write puts the tables between the marks in a page and leaves its other lines.

A GPU's speed is not measured here: give what it trains, as --gpu-rate resunet=5000 (images/s at --side), or
--gpu-file FILE with what ``gpu.py --json FILE`` measured. --quick checks the script; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaling_study import RETRIES, World, arithmetic, simulate

COUNTS = (4 * 10**5, 4 * 10**6, 4 * 10**7, 4 * 10**8)
SIDES = (64, 112, 192, 224)
BEGIN, END = "<!-- made by benchmarks/scaling.py -->", "<!-- end of what is made -->"
HOUR = 3600.0
ENOUGH = 48  # quartets, with fewer of which fixed costs weigh much
PAGE = 4096  # bytes that a disk gives at least


@dataclass(frozen=True)
class Place:
    """A place to compute, and what is asked of it.

    Attributes
    ----------
    hosts, cores, gpus
        Hosts; cores and GPUs of each.
    disk, reads
        Bytes and reads a second of a host's own disk.
    network
        Bytes a second of a host's network, and of its share of the shared disk.
    memory
        Bytes of a host that may hold files.
    gpu_rate
        Network -> images a second that one GPU trains.
    epochs, seeds, losses
        Of a training, and of a study.
    """

    hosts: int = 1
    cores: int = 64
    gpus: int = 0
    disk: float = 2e9
    reads: float = 2e5
    network: float = 1.25e9
    memory: float = 256e9
    gpu_rate: Mapping[str, float] | None = None
    epochs: int = 10
    seeds: int = 5
    losses: int = 4


@dataclass(frozen=True)
class Stage:
    """How long something takes, and what it waits for."""

    hours: float
    rate: float  # samples a second, all hosts together
    bottleneck: str


def slowest(count: float, rates: Mapping[str, float]) -> Stage:
    """Return a stage in which everything goes on at once, so that the slowest part says how long it takes."""
    name = min(rates, key=lambda name: rates[name])
    return Stage(count / rates[name] / HOUR, rates[name], name)


def row_bytes(costs: Mapping[str, Any], side: int, *, depth: bool = True) -> float:
    """Return the bytes of a packed sample without its background, which many share."""
    planes = costs["bytes"][side]
    return sum(planes.get(name, 0.0) for name in ("image", "mask", "mask_valid", *(["depth"] if depth else [])))


def compose(costs: Mapping[str, Any], place: Place, count: int, side: int) -> Stage:
    cores = place.hosts * place.cores
    written = costs["file_bytes"] * (side / max(costs["bytes"])) ** 2
    rates = {"cores": cores / costs["compose"][side], "network": place.hosts * place.network / written}
    return slowest(count, rates)


def packing(costs: Mapping[str, Any], place: Place, count: int, side: int) -> Stage:
    """One host packs one store."""
    rates = {
        "cores": place.cores / costs["pack"][side],
        "network": place.network / (costs["file_bytes"] + row_bytes(costs, side)),
    }
    return slowest(count, rates)


def training(costs: Mapping[str, Any], place: Place, count: int, side: int, network: str) -> Stage:
    """One network on all hosts, a part of each batch on each; an epoch's evaluation of 15 % of the data included."""
    found = costs["networks"][network]
    scale = (side / costs["side"]) ** 2
    if place.gpus:
        rate = place.gpus * (place.gpu_rate or {})[network] / scale
        ratio = found["evaluate"] / found["step"]
    else:
        rate = place.cores / (found["step"] * scale)
        ratio = found["evaluate"] / found["step"]
    work = rate / (0.7 + 0.15 * ratio) * 0.7  # training images a second, evaluation counted
    rates = {
        "GPUs" if place.gpus else "cores": work * place.hosts,
        "gathering": place.hosts * place.cores / costs["gather"][side],
    }
    size = row_bytes(costs, side)
    if count * size / place.hosts > place.memory:
        planes = costs["bytes"][side]
        touched = sum(planes[name] // PAGE + 1 for name in ("image", "mask", "depth") if name in planes)
        rates["disk, bytes"] = place.hosts * place.disk / (touched * PAGE)
        rates["disk, reads"] = place.hosts * place.reads / sum(name in planes for name in ("image", "mask", "depth"))
    return slowest(0.7 * count * place.epochs, rates)


def study(costs: Mapping[str, Any], place: Place, count: int, side: int, network: str) -> Stage:
    """All trials of a study, each on a host (or a GPU of it) of its own."""
    each = max(1, place.gpus)
    alone = replace(place, hosts=1, gpus=min(1, place.gpus), cores=place.cores // each, reads=place.reads / each,
                    disk=place.disk / each, memory=place.memory)  # fmt: skip
    trial = training(costs, alone, count, side, network)
    trials = place.seeds * place.losses
    hours = arithmetic(trial.hours, trials, World(place.hosts, each))
    return Stage(hours, trial.rate * min(trials, place.hosts * each), trial.bottleneck)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(line)} |" for line in lines)]
    return "\n".join(rows)


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} PB"


def time_of(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.2g} s"
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:,.1f} h" if hours < 48 else f"{hours / 24:,.0f} days"


def power(count: float) -> str:
    digits = f"{count:.0e}".split("e+")
    return f"{digits[0]}·10{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(digit)] for digit in str(int(digits[1])))}"


def pages(costs: Mapping[str, Any], place: Place, hosts: Sequence[int], side: int, networks: Sequence[str]) -> str:
    """Return the tables."""
    effort = costs["effort"]
    parts = [
        f"Measured on: {costs['machine']}. CPU seconds of one core, with {effort['count']} quartets, steps of "
        f"{effort['batch']} images, medians of {effort['repeats']}."
    ]
    if effort["count"] < ENOUGH or effort["repeats"] < 3:
        parts.append(
            "**So little was measured that starting up weighs in it: composing, steps and all hours that rest on them "
            "are several times too long. Run the command above on a quiet machine.**"
        )
    cost_lines = [
        [f"{s} px", *(f"{1000 * costs[name][s]:.3g}" for name in ("compose", "pack", "gather")),
         size(row_bytes(costs, s)), size(row_bytes(costs, s, depth=False)), size(costs["bytes"][s]["background"])]
        for s in sorted(costs["bytes"])
    ]  # fmt: skip
    head = ["resolution", "compose, ms", "pack, ms", "gather, ms", "packed", "without depth", "a background, once"]
    parts += ["### Measured: what a quartet costs", table(head, cost_lines)]
    lines = [
        [name, found["precision"], f"{1000 * found['step']:.3g}", f"{1000 * found['evaluate']:.3g}",
         f"{found['parameters']:,}", size(found["weights"]), size(found["checkpoint"])]
        for name, found in costs["networks"].items()
    ]  # fmt: skip
    head = ["network", "computes in", "step, ms an image", "evaluation, ms", "parameters", "weights",
            "checkpoint"]  # fmt: skip
    parts += [f"### Measured: what an image costs a network, {costs['side']} px", table(head, lines)]
    parts += ["### Measured: memory of what has a line a sample", _lists(costs)]
    parts += [f"### Extrapolated: a store at {side} px", _stores(costs, side)]
    parts += ["### Extrapolated: hours", _given(place), _hours(costs, place, hosts, side, networks)]
    parts += ["### Simulated: a study over hosts", _simulated(costs, place, hosts, side, networks[0])]
    return "\n\n".join(parts)


def _lists(costs: Mapping[str, Any]) -> str:
    names = {
        "entries": "entries of a folder of files, as listed",
        "index": "a store's index, as trainings open it",
        "split": "dividing it into train, val and test",
        "names": "numbers of samples by name, where a store is read as data",
        "disk": "the index on disk",
    }
    lines = []
    for name, words in names.items():
        found = costs["lists"][name]
        each = [found[count]["bytes"] / count for count in sorted(found)]
        lines.append([words, *(f"{number:,.0f}" for number in each), size(each[-1] * COUNTS[-1])])
    counts = [f"bytes a sample, of {power(count)}" for count in sorted(costs["lists"]["index"])]
    return table(["", *counts, f"{power(COUNTS[-1])}, extrapolated"], lines)


def _stores(costs: Mapping[str, Any], side: int) -> str:
    planes, lines = costs["bytes"][side], []
    number = sum(name in planes for name in ("image", "mask", "mask_valid", "depth"))
    for count in COUNTS:
        files = number * -(-count // planes["rows"])
        fits = "yes" if files < costs["maps"] else "**no**"
        lines.append([power(count), size(count * row_bytes(costs, side)), f"{files:,.0f}", fits])
    return table(["quartets", "bytes", "shards", f"within {costs['maps']:,} mapped files"], lines)


def _given(place: Place) -> str:
    gpus = f", {place.gpus} GPUs" if place.gpus else ""
    return (
        f"Assumed, not measured: hosts of {place.cores} cores{gpus}, {size(place.memory)} that hold files, a disk of "
        f"{size(place.disk)}/s and {place.reads:,.0f} reads/s, a network of {size(place.network)}/s; {place.epochs} "
        f"epochs; a study of {place.losses} losses and {place.seeds} seeds. Cores are taken to add up."
    )


def _hours(costs: Mapping[str, Any], place: Place, hosts: Sequence[int], side: int, networks: Sequence[str]) -> str:
    lines = []
    for count in COUNTS:
        for number in hosts:
            there = replace(place, hosts=number)
            stages = [compose(costs, there, count, side), packing(costs, there, count, side)]
            for name in networks:
                stages += [training(costs, there, count, side, name), study(costs, there, count, side, name)]
            lines.append([power(count), str(number), *(f"{time_of(s.hours)} ({s.bottleneck})" for s in stages)])
    head = ["quartets", "hosts", "compose", "pack (one host)"]
    for name in networks:
        head += [f"train {name}", f"study of {name}"]
    return table(head, lines)


def _simulated(costs: Mapping[str, Any], place: Place, hosts: Sequence[int], side: int, network: str) -> str:
    each = max(1, place.gpus)
    trial = study(costs, replace(place, hosts=place.seeds * place.losses), COUNTS[0], side, network).hours
    uneven = tuple(1 + 0.3 * number / max(1, place.losses - 1) for number in range(place.losses))
    lines = []
    for number in hosts:
        even = World(number, each, spread=0.0, losses=(1.0,) * place.losses, start=0.0)
        worlds = [
            replace(even, spread=0.05, losses=uneven),
            replace(even, spread=0.05, losses=uneven, slow=0.25, slowness=2.0),
            replace(even, spread=0.05, losses=uneven, lost_every=10 * trial, back=trial / 10,
                    checkpoint=trial / place.epochs, start=trial / 100),
        ]  # fmt: skip
        expected = arithmetic(trial, place.seeds * place.losses, even)
        found = [
            statistics.median(simulate(trial, place.seeds, world, n).hours for n in range(100)) for world in worlds
        ]
        given_up = sum(simulate(trial, place.seeds, worlds[-1], n).given_up for n in range(100))
        ratios = [f"{hours / expected:.2f}" for hours in found]
        lines.append([str(number), time_of(expected), *ratios, f"{given_up} of {100 * place.seeds * place.losses:,}"])
    head = ["hosts", "arithmetic", "unequal losses", "and a quarter of the hosts half as fast",
            "and hosts lost, every 10 trials' length", f"trials given up after {RETRIES + 1} hosts"]  # fmt: skip
    words = (
        f"{network}, {power(COUNTS[0])} quartets; hours of the arithmetic, and the simulated time as a multiple of it, "
        "the median of 100 runs. Losses differ by up to 30 % in length, trials by 5 % beside."
    )
    return words + "\n\n" + table(head, lines)


def read_costs(path: Path) -> dict[str, Any]:
    """Read costs that --save wrote; JSON has made text of its numbers' names."""
    costs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in ("compose", "pack", "gather", "bytes"):
        costs[name] = {int(key): value for key, value in costs[name].items()}
    costs["lists"] = {name: {int(key): v for key, v in found.items()} for name, found in costs["lists"].items()}
    return costs


def write_page(path: Path, text: str) -> None:
    """Put the tables between the marks of a page."""
    page = path.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"{path}: expected one line {BEGIN!r} and one {END!r}, between which the tables go.")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def gpu_rates(given: Sequence[str], file: Path | None, side: int) -> dict[str, float]:
    """Return network -> images a second of a GPU, from what was given, and else what ``gpu.py`` measured."""
    found: dict[str, float] = {}
    if file is not None:
        for line in json.loads(file.read_text(encoding="utf-8"))["speed"]:
            if line["side"] == side:
                found[line["network"]] = max(line["rate"], found.get(line["network"], 0.0))
    for text in given:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise SystemExit(f"--gpu-rate {text}: expected NETWORK=IMAGES, such as resunet=5000.") from None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    place = Place()
    for name in ("cores", "gpus", "epochs", "seeds", "losses"):
        parser.add_argument(f"--{name}", type=int, default=getattr(place, name))
    for name in ("disk", "reads", "network", "memory"):
        parser.add_argument(f"--{name}", type=float, default=getattr(place, name))
    parser.add_argument("--hosts", default="1,8,64", help="numbers of hosts, with commas")
    parser.add_argument("--side", type=int, default=64, choices=SIDES)
    parser.add_argument("--net", action="append", help="a network of the table of hours; repeatable")
    parser.add_argument("--gpu-rate", action="append", default=[], metavar="NETWORK=IMAGES")
    parser.add_argument("--gpu-file", type=Path)
    parser.add_argument("--costs", type=Path, help="costs that --save wrote, instead of measuring")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--write", type=Path, help="the page whose tables are written again")
    for name, number in (("count", 96), ("batch", 16), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=number, help="of what is measured")
    parser.add_argument("--lists", type=int, nargs="+", default=(100_000, 1_000_000), help="lines of lists measured")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.costs:
        costs = read_costs(args.costs)
    else:
        from scaling_costs import Effort, measure

        effort = (
            Effort(8, 2, 1, (100, 1000)) if args.quick else Effort(args.count, args.batch, args.repeats, args.lists)
        )
        costs = measure((args.side,) if args.quick else SIDES, args.side, effort)
        if args.save:
            args.save.write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")
    names = args.net or ["relief", "resunet"]
    rates = gpu_rates(args.gpu_rate, args.gpu_file, args.side)
    if args.gpus and (missing := [name for name in names if name not in rates]):
        raise SystemExit(f"--gpus: how fast does one train {', '.join(missing)}? Give --gpu-rate or --gpu-file.")
    given = {name: getattr(args, name) for name in ("cores", "gpus", "epochs", "seeds", "losses")}
    given |= {name: getattr(args, name) for name in ("disk", "reads", "network", "memory")}
    text = pages(costs, Place(**given, gpu_rate=rates), [int(n) for n in args.hosts.split(",")], args.side, names)
    if args.write:
        write_page(args.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
