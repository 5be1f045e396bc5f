"""How long verdicts take, for each engine and for Spin on the exported model.

Run by `make bench`, apart from the tests. Each run is a process of its own, so that
start-up counts and memory is what the system saw. All engines have to count the same.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from spec.bounds import BOUNDS, find_bounds, program
from spec.cells import SpecificationError
from spec.checker.explore import explore
from spec.checker.program import Options
from spec.clients import Section, section
from spec.codename import LEARNED
from spec.export import spin
from spec.export.promela import ADDED_STATES, added_transitions
from spec.handover import WRITERS, origins
from spec.releases import find_model

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results.json"
MODEL = "sketch"
DEEPEST = 1_000_000
ENOUGH = 60.0
"""Seconds; once an engine was measured for so long, it is not run again."""


class Differs(Exception):
    """Two engines counted differently: no time is worth anything."""


# -- engines ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One process to measure.

    Attributes:
        words: its command.
        folder: where it runs.
        counts: states and transitions, from what it prints.
    """

    words: list[str]
    folder: Path
    counts: Callable[[str], tuple[int, int]]


@dataclass(frozen=True)
class Prepared:
    """What an engine needs to run within bounds.

    Attributes:
        jobs: the processes that together give the verdict, one after the other.
        seconds: what making them took: translation and compilation.
    """

    jobs: list[Job]
    seconds: float = 0.0


@dataclass(frozen=True)
class Engine:
    """One way to a verdict.

    Attributes:
        name: what tables call it.
        prepare: makes it ready for bounds, in a folder.
        needs: programs and Python modules that have to be installed.
        reduces: it stores fewer states, so that its counts are its own.
        within: the bounds that it can be measured within; empty: all.
        beyond: why not within others.
    """

    name: str
    prepare: Callable[[str, Path], Prepared]
    needs: tuple[str, ...] = ()
    reduces: bool = False
    within: tuple[str, ...] = ()
    beyond: str = ""

    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        found = (shutil.which(word) or find_spec(word) for word in self.needs)
        return [w for w, it in zip(self.needs, found, strict=True) if it is None]


def checked(options: tuple[str, ...], bounds: str, folder: Path) -> Prepared:
    """`anon-exclusive check`, with further options."""
    words = [sys.executable, "-m", "spec", "check", "--json", "--model", MODEL]

    def counts(said: str) -> tuple[int, int]:
        found = json.loads(said)
        return found["states"], found["transitions"]

    return Prepared([Job([*words, "--bounds", bounds, *options], folder, counts)])


def spun(language: str, bounds: str, folder: Path) -> Prepared:
    """Spin's verifiers of all sections, from what is exported to a language."""
    jobs = []
    seconds = 0.0
    for origin in origins(bounds, MODEL):
        made = origin.explored()
        place = folder / origin.name
        place.mkdir()
        for name, text in WRITERS[language](origin, made, False).items():
            (place / name).write_text(text, encoding="utf-8")
        began = time.monotonic()
        spin.build(place / f"{origin.name}.pml", place, "-O2")
        seconds += time.monotonic() - began
        # what suits Spin best: no more stack than needed, a slot or two for each state
        depth = spin.search(place, DEEPEST).depth + 10
        words = [*spin.RUN, f"-m{depth}", f"-w{max(16, made.states.bit_length())}"]
        jobs.append(Job(words, place, partial(_spin_counts, added_transitions(made))))
    return Prepared(jobs, seconds)


def _spin_counts(added: int, said: str) -> tuple[int, int]:
    run = spin.read(said, 0.0)
    if run.failed:
        raise Differs(f"Spin finds {', '.join(run.failed)} violated")
    return run.states - ADDED_STATES, run.transitions - added


SPIN = "Spin, -O2, commands in tables"
"""What the others are compared with: the quickest way that Spin was found to have."""
ENGINES = (
    Engine(
        "NumPy",
        partial(checked, ("--engine", "numpy", "--afresh")),
        within=tuple(name for name in BOUNDS if name != "large"),
        beyond="it takes long",
    ),
    Engine("Numba", partial(checked, ("--engine", "numba", "--afresh")), ("numba",)),
    Engine("as installed, learned before", partial(checked, ())),
    Engine(
        "the same with symmetry",
        partial(checked, ("--reduce", "symmetry")),
        reduces=True,
    ),
    Engine(SPIN, partial(spun, "spin-tables"), ("spin", "gcc")),
    Engine(
        "Spin, -O2, commands as statements",
        partial(spun, "promela"),
        ("spin", "gcc"),
        within=("small", "ordering"),
        beyond="gcc -O2 takes hours for larger sections",
    ),
)


# -- measuring -------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """The runs of one engine within one bound.

    Attributes:
        seconds: wall time to the verdict, of each run.
        prepared: seconds for translation and compilation, once.
        states, transitions: as counted.
        largest: states of the largest section that one process had in memory.
        bytes: the greatest resident memory of a process.
        reduced: whether it stores fewer states than there are.
    """

    bounds: str
    engine: str
    seconds: list[float]
    prepared: float
    states: int
    transitions: int
    largest: int
    bytes: int
    reduced: bool = False

    @property
    def median(self) -> float:
        """The median of the wall times."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Usage:
    """What one process took and said."""

    seconds: float
    bytes: int
    said: str


WATCH = """
import os, sys, time
began = time.monotonic()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
seconds, code = time.monotonic() - began, os.waitstatus_to_exitcode(status)
print(seconds, usage.ru_maxrss, code, file=sys.stderr)
"""
"""A small process between, because a child is charged with the memory of its parent."""


def measure(job: Job) -> Usage:
    """Run a process to its end.

    Raises:
        SpecificationError: it failed.
    """
    words = [sys.executable, "-I", "-S", "-c", WATCH, *job.words]
    done = subprocess.run(
        words, cwd=job.folder, capture_output=True, text=True, check=False
    )
    seconds, kilobytes, code = done.stderr.splitlines()[-1].split()
    if code != "0":
        raise SpecificationError(f"{job.words[0]} ended with {code}")
    return Usage(float(seconds), int(kilobytes) * 1024, done.stdout)


def _rounds(jobs: list[Job], runs: int) -> Iterator[list[Usage]]:
    """What all jobs took, up to `runs` times; what takes long is run less often."""
    taken = 0.0
    for _ in range(runs):
        done = [measure(job) for job in jobs]
        taken += sum(usage.seconds for usage in done)
        yield done
        if taken > ENOUGH:
            break


def benchmark(engine: Engine, bounds: str, largest: int, runs: int) -> Measured:
    """Measure one engine within one bound, up to `runs` times."""
    with TemporaryDirectory() as folder:
        prepared = engine.prepare(bounds, Path(folder))
        rounds = list(_rounds(prepared.jobs, runs))
        counts = [
            job.counts(usage.said)
            for job, usage in zip(prepared.jobs, rounds[0], strict=True)
        ]
    return Measured(
        bounds=bounds,
        engine=engine.name,
        seconds=[round(sum(usage.seconds for usage in each), 3) for each in rounds],
        prepared=round(prepared.seconds, 1),
        states=sum(states for states, _ in counts),
        transitions=sum(transitions for _, transitions in counts),
        largest=largest,
        bytes=max(usage.bytes for each in rounds for usage in each),
        reduced=engine.reduces,
    )


def largest_section(bounds: str) -> int:
    """States of the largest section of a bound; what is learned of all is kept."""
    made = [program(part, find_model(MODEL)) for part in find_bounds(bounds).sections]
    return max(explore(p, options=Options(learned=LEARNED)).states for p in made)


# -- growth ----------------------------------------------------------------------------

WORDS = ("write", "gup rw pin fast", "put", "fork", "munmap", "read", "mprotect r")
GROWTH: Mapping[str, Mapping[int, Section]] = {
    "processes": {
        n: section(
            ("ABCD"[:n], "fork; write"),
            ("ABCD"[:n], "gup rw pin fast; put"),
            processes=n,
            pages=n + 4,
        )
        for n in (1, 2, 3, 4)
    },
    "CPUs": {
        n: section(
            *[("AB", "write; gup ro pin fast; put")] * n, processes=2, pages=n + 4
        )
        for n in (1, 2, 3, 4)
    },
    "operations": {
        n: section(("AB", "; ".join(WORDS[:n])), ("AB", "; ".join(WORDS[:n])))
        for n in range(1, len(WORDS) + 1)
    },
}
"""Sections that differ in one thing, and how much of it there is."""


@dataclass(frozen=True)
class Point:
    """The exploration of one section of a series."""

    size: int
    states: int
    transitions: int
    seconds: float


def growth() -> dict[str, list[Point]]:
    """Explore all sections of all series."""
    return {
        what: [
            Point(size, found.states, found.transitions, round(found.seconds, 3))
            for size, part in series.items()
            for found in [explore(program(part, find_model(MODEL)))]
        ]
        for what, series in GROWTH.items()
    }


# -- results ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Results:
    """One run of the benchmark.

    Attributes:
        date: when, in UTC.
        machine, versions: on what.
        load: what else the machine did: the load average before.
        measured: the runs.
        growth: by what grows.
        skipped: engines that were not measured, and why.
    """

    date: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    load: float
    measured: list[Measured] = field(default_factory=list)
    growth: Mapping[str, list[Point]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def load_results(path: Path = RESULTS) -> Results:
    """The results that a file keeps."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Results(
        **{
            **found,
            "measured": [Measured(**each) for each in found["measured"]],
            "growth": {
                what: [Point(**each) for each in series]
                for what, series in found["growth"].items()
            },
        }
    )


def machine() -> dict[str, str]:
    """What this machine is."""
    names = [
        line.partition(":")[2].strip()
        for line in _text("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{pages * size / 2**30:.0f} GiB",
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """The versions of what was measured."""
    return {
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "Spin": _first_line("spin", "-V"),
        "gcc": _first_line("gcc", "-dumpfullversion"),
        "anon-exclusive": _first_line("git", "describe", "--always", "--dirty"),
    }


def _text(path: str) -> str:
    file = Path(path)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _first_line(*words: str) -> str:
    if shutil.which(words[0]) is None:
        return "not installed"
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["unknown"])[0]


def same_counts(measured: list[Measured]) -> None:
    """Raise `Differs` unless all engines that do not reduce counted the same."""
    whole = [each for each in measured if not each.reduced]
    for one in whole:
        for other in whole:
            mine = (one.states, one.transitions)
            theirs = (other.states, other.transitions)
            if one.bounds == other.bounds and mine != theirs:
                raise Differs(
                    f"within {one.bounds} {one.engine} counts {mine} "
                    f"and {other.engine} {theirs}"
                )


def all_measured(
    bounds: tuple[str, ...], engines: list[Engine], runs: int
) -> Iterator[Measured]:
    """Each engine within each bound, with a line about each."""
    for name in bounds:
        largest = largest_section(name)
        for engine in [e for e in engines if name in (e.within or BOUNDS)]:
            found = benchmark(engine, name, largest, runs)
            click.echo(f"{name:10} {engine.name:16} {found.median:.3f} s", err=True)
            yield found


def skipped(engine: Engine, bounds: tuple[str, ...]) -> str:
    """Why an engine was not measured, or not within all bounds; empty if it was."""
    if engine.missing():
        return f"not installed: {', '.join(engine.missing())}"
    left = [name for name in bounds if name not in (engine.within or BOUNDS)]
    return f"not within {', '.join(left)}: {engine.beyond}" if left else ""


@click.command()
@click.option("--bounds", multiple=True, default=("small", "standard", "large"))
@click.option("--engine", multiple=True, help=", ".join(e.name for e in ENGINES))
@click.option(
    "--runs", default=5, show_default=True, help="At most; their median counts."
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True
)
def main(
    bounds: tuple[str, ...], engine: tuple[str, ...], runs: int, out: Path
) -> None:
    """Measure all engines within bounds, and how explorations grow."""
    for name in bounds:
        if name not in BOUNDS:
            raise click.UsageError(f"no bounds named {name!r}")
    wanted = [e for e in ENGINES if not engine or e.name in engine]
    if not wanted:
        raise click.UsageError(f"no engine named {', '.join(engine)}")
    load = os.getloadavg()[0]
    try:
        ready = [e for e in wanted if not e.missing()]
        measured = list(all_measured(bounds, ready, runs))
        same_counts(measured)
    except (SpecificationError, spin.SpinError, Differs) as error:
        raise click.ClickException(str(error)) from None
    results = Results(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        machine=machine(),
        versions=versions(),
        load=round(load, 1),
        measured=measured,
        growth=growth(),
        skipped={e.name: why for e in wanted if (why := skipped(e, bounds))},
    )
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")
    click.echo(out)


if __name__ == "__main__":
    main()
