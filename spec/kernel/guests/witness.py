"""What a kernel shows of many tests, and what is to be said of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spec.kernel.compare import Difference, has_bit, judge
from spec.kernel.guests.guest import Guest, GuestLost
from spec.kernel.guests.packages import Image
from spec.kernel.observe import Kernel, Machine
from spec.kernel.programs import NotExpressible
from spec.kernel.recorded import Record, Shown, kept, operations
from spec.kernel.verdicts import NOT_SEEN, verdict
from spec.kernel.versions import model_of, release_of, unmodelled
from spec.litmus.program import Test
from spec.litmus.run import run

if TYPE_CHECKING:
    from spec.kernel.fuzz import Report

RUNNING = "running"
"""The name of the kernel that is running here, beside those that can be booted."""
TRIES = 2
"""A guest that does not come to its end did not run; then it is booted once more."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """One test on one kernel, beside what its model predicts.

    Attributes:
        shown: what the kernel showed.
        difference: where no outcome of the model fits any more.
        verdict: on what was shown; empty if it could not be carried out.
        predicted: the verdict of the model.
        outcomes: the verdicts of all outcomes that the model has.
        known: why the model does not allow what was shown, if that is known.
    """

    shown: Shown
    difference: Difference | None = None
    verdict: str = ""
    predicted: str = ""
    outcomes: frozenset[str] = frozenset()
    known: str = ""

    @property
    def ran(self) -> bool:
        """Whether it could be carried out."""
        return self.shown.run is not None

    @property
    def agrees(self) -> bool:
        """Whether the model allows what was shown, line by line and in the verdict.

        A verdict that is not to be seen is none.
        """
        return self.difference is None and self.verdict in {*self.outcomes, NOT_SEEN}

    @property
    def milder(self) -> bool:
        """Whether the worst that the model allows is not what was shown."""
        return self.agrees and self.verdict not in (self.predicted, NOT_SEEN)

    @property
    def unexpected(self) -> bool:
        """Whether the model does not allow what was shown, and nobody knows why."""
        return self.ran and not self.agrees and not self.known


@dataclass(frozen=True)
class Wanted:
    """What is to be run on a kernel.

    Attributes:
        tests: these, and observed.
        command: what the record says that made it.
        progress: told of how many tests are done, of how many.
        programs: so many random programs are compared with the model as well.
        seed: the same seed gives the same programs.
    """

    tests: Sequence[Test]
    command: str
    progress: Progress
    programs: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Witnessed:
    """What a kernel showed: the tests, and random programs if there were any."""

    record: Record
    random: Report | None


def boot_and_observe(image: Image, wanted: Wanted) -> Witnessed:
    """What a guest shows.

    Raises:
        KernelError: it did not come to its end, twice.
    """
    for _ in range(TRIES - 1):
        with suppress(GuestLost):
            return _observe(Guest(image), image.origin, wanted)
    return _observe(Guest(image), image.origin, wanted)


def observe_running(wanted: Wanted) -> Witnessed:
    """What the kernel that is running shows.

    Raises:
        KernelError: it cannot be driven.
    """
    return _observe(Kernel(), "the kernel that was running", wanted)


def _observe(kernel: Kernel, origin: str, wanted: Wanted) -> Witnessed:
    with kernel as running:
        shown = observe_all(running, wanted.tests, wanted.progress)
        random = random_programs(running, wanted) if wanted.programs else None
    return Witnessed(record(running.machine, origin, wanted.command, shown), random)


def random_programs(kernel: Kernel, wanted: Wanted) -> Report | None:
    """Compare random programs with the model of the kernel.

    Not before the bit: mremap(2) of those kernels unmaps the target even where there
    is nothing to move, which random programs do and the model does not.
    """
    from spec.kernel.fuzz import fuzz

    model = model_of(kernel.machine.release)
    if not has_bit(model):
        return None
    return fuzz(model, kernel, most=wanted.programs, seconds=None, seed=wanted.seed)


def observe_all(
    kernel: Kernel, tests: Sequence[Test], progress: Progress
) -> list[Shown]:
    """What `kernel` shows of each test, or why it cannot be carried out."""
    found = []
    for number, test in enumerate(tests):
        progress(number, len(tests))
        text = operations(test)
        try:
            found.append(Shown(test.name, text, kernel.observe(test)))
        except NotExpressible as reason:
            found.append(Shown(test.name, text, None, str(reason)))
    progress(len(tests), len(tests))
    return found


def record(
    machine: Machine, origin: str, command: str, shown: Sequence[Shown]
) -> Record:
    """A record, named by the version without its point release."""
    name = ".".join(machine.release.split(".")[:2])
    return Record(name, machine, origin, command, kept(shown))


def finding(test: Test, shown: Shown, version: str) -> Finding:
    """What is to be said of what the kernel of a version showed of `test`."""
    if shown.run is None:
        return Finding(shown)
    model = model_of(version)
    difference = judge(test, model, shown.run)
    found = run(test, model)
    outcomes = frozenset(outcome.verdict for outcome in found.outcomes)
    said = verdict(test, shown.run, model)
    known = unmodelled(test.name, release_of(version))
    return Finding(shown, difference, said, found.verdict, outcomes, known)
