"""What a kernel shows of many tests, and what is to be said of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spec.decisions import Model
from spec.kernel.compare import Difference, judge
from spec.kernel.guests.guest import Guest
from spec.kernel.guests.packages import Image
from spec.kernel.observe import Kernel, KernelError, Machine
from spec.kernel.programs import NotExpressible
from spec.kernel.recorded import Record, Shown, kept, operations
from spec.kernel.verdicts import verdict
from spec.litmus.program import Test
from spec.litmus.run import run

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
    """

    shown: Shown
    difference: Difference | None = None
    verdict: str = ""
    predicted: str = ""
    outcomes: frozenset[str] = frozenset()

    @property
    def ran(self) -> bool:
        """Whether it could be carried out."""
        return self.shown.run is not None

    @property
    def agrees(self) -> bool:
        """Whether the model allows what was shown, line by line and in the verdict."""
        return self.ran and self.difference is None and self.verdict in self.outcomes

    @property
    def milder(self) -> bool:
        """Whether the worst that the model allows is not what was shown."""
        return self.agrees and self.verdict != self.predicted


def boot_and_observe(
    image: Image, tests: Sequence[Test], command: str, progress: Progress
) -> Record:
    """What a guest shows of `tests`.

    Raises:
        KernelError: it did not come to its end, twice.
    """
    for _ in range(TRIES - 1):
        try:
            return _observe_guest(image, tests, command, progress)
        except KernelError:
            pass
    return _observe_guest(image, tests, command, progress)


def _observe_guest(
    image: Image, tests: Sequence[Test], command: str, progress: Progress
) -> Record:
    with Guest(image) as guest:
        shown = observe_all(guest, tests, progress)
    return record(guest.machine, image.origin, command, shown)


def observe_running(tests: Sequence[Test], command: str, progress: Progress) -> Record:
    """What the kernel that is running shows of `tests`.

    Raises:
        KernelError: it cannot be driven.
    """
    with Kernel() as kernel:
        shown = observe_all(kernel, tests, progress)
    return record(kernel.machine, "the kernel that was running", command, shown)


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


def finding(test: Test, shown: Shown, model: Model) -> Finding:
    """What is to be said of what a kernel showed of `test`."""
    if shown.run is None:
        return Finding(shown)
    difference = judge(test, model, shown.run)
    found = run(test, model)
    outcomes = frozenset(outcome.verdict for outcome in found.outcomes)
    said = verdict(test, shown.run, model)
    return Finding(shown, difference, said, found.verdict, outcomes)
