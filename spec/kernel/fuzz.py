"""Differential runs: random programs, on the kernel and on a model, line by line.

Hypothesis generates the programs and shrinks one on which kernel and model disagree.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, NoSuchExample

from spec.decisions import Model
from spec.kernel.compare import DIFFERS, NOT_EXPRESSIBLE, Comparison, compare
from spec.kernel.driver import BRIEF
from spec.kernel.generate import ADDRESSES, Step, text_of, words
from spec.kernel.known import known
from spec.kernel.observe import Kernel
from spec.kernel.programs import BY, program
from spec.litmus.parser import parse
from spec.litmus.program import Operation, Test

MOST_STEPS = 24
BATCH = 500
"""Programs between two looks at the clock."""


@dataclass(frozen=True)
class Program:
    """A generated program and the system calls that it prefers."""

    text: str
    by: tuple[str, ...] = ()

    def test(self) -> Test:
        """As a litmus test."""
        return parse(self.text, "random")

    def __str__(self) -> str:
        """The file, with a comment on how to run it."""
        options = "".join(f" --by {name}" for name in self.by)
        header, _, rest = self.text.partition("\n")
        return f"{header}\n# anon-exclusive kernel compare FILE{options}\n{rest}"


@dataclass(frozen=True)
class Disagreement:
    """A program on which kernel and model disagree.

    Attributes:
        program: the shortest that was found.
        comparison: where they disagree.
        repeats: whether it did so again; else it is the first program as it was
            generated, and what it shows depends on more than the program.
    """

    program: Program
    comparison: Comparison
    repeats: bool = True


@dataclass
class Report:
    """What a differential run came to.

    Attributes:
        programs: how many were compared.
        not_expressible: those that this machine could not carry out, by reason.
        operations: how often each word of `spec.kernel.generate` was compared.
        calls: what took the references.
        seconds: wall time.
        known: how many programs showed a difference that is known, by what it is.
        found: the disagreement, if there is one.
        interrupted: whether it was ended before it was done.
    """

    programs: int = 0
    not_expressible: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    found: Disagreement | None = None
    interrupted: bool = False


BYS = st.lists(st.sampled_from(BY), unique=True, max_size=2).map(tuple)


def programs(huge_share: int = 8) -> st.SearchStrategy[Program]:
    """All programs; one of `huge_share` is about a huge page."""

    def of(huge: bool) -> st.SearchStrategy[Program]:
        step = st.builds(
            Step,
            st.sampled_from(words(huge)),
            st.integers(0, 3),
            st.sampled_from(ADDRESSES),
        )
        # Two lists: Hypothesis makes lists of six on average, whatever it may make.
        half = st.lists(step, max_size=MOST_STEPS // 2)
        first = [Step("madvise hugepage")] if huge else []
        begun = st.sampled_from([first, []])
        steps = st.tuples(begun, half, half).map(lambda parts: [*chain(*parts)])
        return st.builds(Program, steps.map(text_of), BYS)

    small, large = of(huge=False), of(huge=True)
    share = st.integers(1, huge_share)
    return share.flatmap(lambda number: large if number == huge_share else small)


def fuzz(
    model: Model,
    kernel: Kernel,
    *,
    without: frozenset[str] = frozenset(),
    most: int | None,
    seconds: float | None,
    seed: int,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Compare random programs until kernel and model disagree, or enough are done.

    Args:
        model: what the kernel should do no more than.
        kernel: the running kernel.
        without: ids of rules that the model is not to obey.
        most: how many programs at most.
        seconds: for how long at most.
        seed: the same seed gives the same programs.
        progress: told of every batch.

    Raises:
        KernelError: the kernel cannot be driven.
    """
    begun = time.monotonic()
    end = math.inf if seconds is None else begun + seconds
    run = _Run(partial(compare, model=model, kernel=kernel, without=without), end)
    rng = random.Random(seed)
    try:
        while run.report.found is None:
            left = BATCH if most is None else most - run.tried
            if left <= 0 or time.monotonic() > run.end:
                break
            run.batch(min(left, BATCH), rng)
            run.report.seconds = time.monotonic() - begun
            progress(run.report)
    except KeyboardInterrupt:
        run.report.interrupted = True
        run.report.found = run.first
    run.report.seconds = time.monotonic() - begun
    return run.report


class _Run:
    """Keeps count of what was tried."""

    def __init__(self, judge: Callable[..., Comparison], end: float) -> None:
        self.judge = judge
        self.end = end
        self.report = Report()
        self.tried = 0
        self.first: Disagreement | None = None
        self.programs = programs()

    def batch(self, size: int, rng: random.Random) -> None:
        """Some programs more; a disagreement is shrunk."""
        try:
            shortest = find(
                self.programs,
                self.differs,
                settings=settings(
                    max_examples=size,
                    database=None,
                    deadline=None,
                    phases=(Phase.generate, Phase.shrink),
                    suppress_health_check=list(HealthCheck),
                ),
                random=random.Random(rng.getrandbits(64)),
            )
        except NoSuchExample:
            return
        except Flaky:
            assert self.first is not None
            self.report.found = self.first
            return
        again = self.judge(shortest.test(), by=shortest.by)
        self.report.found = Disagreement(shortest, again, again.verdict == DIFFERS)

    def differs(self, tried: Program) -> bool:
        """Whether kernel and model disagree; when time is over, nothing is compared."""
        if self.first is None and time.monotonic() > self.end:
            return False
        test = tried.test()
        found = self.judge(test, by=tried.by)
        passed = known(test, found)
        if self.first is None:
            self.tried += 1
            self.count(test, tried, found)
            if passed is not None:
                self.report.known[passed.why] += 1
        if passed is not None:
            return False
        if found.verdict == DIFFERS and self.first is None:
            self.first = Disagreement(tried, found, repeats=False)
        return found.verdict == DIFFERS

    def count(self, test: Test, tried: Program, found: Comparison) -> None:
        """Take note of a program; what was shrunk does not count."""
        if found.verdict == NOT_EXPRESSIBLE:
            self.report.not_expressible[found.why] += 1
            return
        self.report.programs += 1
        self.report.operations.update(kind(o) for o in test.operations)
        calls = program(test, tried.by)["calls"]
        self.report.calls.update(filter(None, map(system_call, calls)))


def kind(operation: Operation) -> str:
    """What an operation counts as, in the words of `spec.kernel.generate`.

    >>> [kind(o) for o in parse("litmus t\\nA: gup r = ro pin fast").operations]
    ['ro pin fast']
    """
    if operation.by_reference:
        return (
            operation.word if operation.word == "put" else f"reference {operation.word}"
        )
    foll = operation.foll
    if foll is not None:
        access, how = "rw" if foll.write else "ro", "pin" if foll.pin else "get"
        fast = [] if operation.entry == "slow" else [operation.entry]
        return " ".join([access, how, *fast])
    if operation.protection is not None:
        return f"mprotect {operation.protection}"
    return operation.word


def system_call(call: dict[str, Any]) -> str | None:
    """What takes a reference or forces a write, where there is a choice."""
    if call["word"] in BRIEF:
        return str(call["word"])
    return call.get("how") or call.get("by")
