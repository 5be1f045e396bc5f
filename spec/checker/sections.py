"""Several programs, one after another or at the same time, with one verdict."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from spec.checker.program import DEFAULT, Options, Program, Progress, Verdict
from spec.checker.search import search

Make = Callable[[], Program]
Report = Callable[[Progress], None]
NOTHING = Verdict(0, 0, 0, complete=True)


def explore_all(
    programs: Sequence[Make],
    report: Report = lambda progress: None,
    options: Options = DEFAULT,
) -> Verdict:
    """The verdict on all programs; those behind the first that fails do not count.

    Counts of states and transitions are sums, depth is the greatest.

    Args:
        programs: make each program.
        report: called now and then, with sums over the programs explored so far.
        options: how to explore; `workers` programs at the same time, where the system
            can fork.
    """
    began = time.monotonic()
    workers = min(options.workers, len(programs))
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    sums = _Sums(report, len(programs), began)
    one_by_one = _here if workers < 2 or not can_fork else _Pool
    total = NOTHING
    for verdict in one_by_one(programs, sums, options):
        total = total.and_then(verdict)
        if not verdict.holds:
            break
    return replace(total, seconds=time.monotonic() - began)


class _Sums:
    """Reports what all programs have done together."""

    def __init__(self, report: Report, programs: int, began: float) -> None:
        self.report = report
        self.programs = programs
        self.began = began
        self.last: dict[int, Progress] = {}
        self.done: set[int] = set()

    def __call__(self, number: int, progress: Progress) -> None:
        """Note what one program has done, and report."""
        self.last[number] = progress
        all_of_them = self.last.values()
        running = [p for n, p in self.last.items() if n not in self.done]
        self.report(
            Progress(
                states=sum(p.states for p in all_of_them),
                transitions=sum(p.transitions for p in all_of_them),
                frontier=sum(p.frontier for p in running),
                depth=max(p.depth for p in all_of_them),
                seconds=time.monotonic() - self.began,
                evaluations=sum(p.evaluations for p in all_of_them),
                memory=sum(p.memory for p in running),
                expected=_sum([p.expected for p in running]),
                done=len(self.done),
                parts=self.programs,
            )
        )


def _sum(counts: list[int | None]) -> int | None:
    """The sum of what is known of all; else it is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _explorer() -> Callable[..., Verdict]:
    """The fast engine; where NumPy is not to be had, the reference search."""
    try:
        from spec.checker.explore import explore
    except ModuleNotFoundError as missing:
        if missing.name != "numpy":
            raise
        return lambda program, report, options: search(program)
    return explore


def _here(programs: Sequence[Make], sums: _Sums, options: Options) -> Iterator[Verdict]:
    explore = options.explore or _explorer()
    for number, make in enumerate(programs):

        def report(progress: Progress, number: int = number) -> None:
            sums(number, progress)

        yield explore(make(), report, options=options)
        sums.done.add(number)


@dataclass
class _Worker:
    process: BaseProcess
    messages: Connection


class _Pool:
    """Yields the verdicts in order, while processes explore further programs.

    A worker takes the next program that nobody has taken, until there is none.
    """

    def __init__(self, programs: Sequence[Make], sums: _Sums, options: Options) -> None:
        self.sums = sums
        self.verdicts: dict[int, Verdict] = {}
        self.count = len(programs)
        # modules that are loaded before the processes part are loaded once
        _explorer()
        system = multiprocessing.get_context("fork")
        taken = system.Value("i", 0)
        self.workers = []
        for _ in range(min(options.workers, len(programs))):
            ours, theirs = system.Pipe(duplex=False)
            process = system.Process(
                target=_work, args=(programs, taken, theirs, options), daemon=True
            )
            process.start()
            theirs.close()
            self.workers.append(_Worker(process, ours))

    def __iter__(self) -> Iterator[Verdict]:
        try:
            for number in range(self.count):
                while number not in self.verdicts and self.workers:
                    self._receive()
                if number not in self.verdicts:
                    yield replace(NOTHING, complete=False, interrupted=True)
                    return
                yield self.verdicts[number]
        finally:
            for worker in self.workers:
                worker.process.terminate()

    def _receive(self) -> None:
        """Wait for a message; an interrupt is passed on, and verdicts come soon."""
        try:
            ready = wait([worker.messages for worker in self.workers])
            for worker in [w for w in self.workers if w.messages in ready]:
                self._message(worker)
        except KeyboardInterrupt:
            for worker in self.workers:
                if worker.process.pid is not None:
                    os.kill(worker.process.pid, signal.SIGINT)

    def _message(self, worker: _Worker) -> None:
        try:
            number, message = worker.messages.recv()
        except EOFError:
            self.workers.remove(worker)
            return
        if isinstance(message, Progress):
            self.sums(number, message)
        elif isinstance(message, Verdict):
            self.verdicts[number] = message
            self.sums.done.add(number)
        else:
            raise message


def _interrupt_once(*_: Any) -> None:
    """Raise KeyboardInterrupt at the first signal: what follows it is to be done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _work(
    programs: Sequence[Make], taken: Any, messages: Connection, options: Options
) -> None:
    """What a worker does; after an interrupt it takes no further program."""
    explore = _explorer()
    signal.signal(signal.SIGINT, _interrupt_once)
    interrupted = False
    while not interrupted:
        with taken.get_lock():
            number, taken.value = taken.value, taken.value + 1
        if number >= len(programs):
            return

        def report(progress: Progress, number: int = number) -> None:
            messages.send((number, progress))

        try:
            verdict = explore(programs[number](), report, options=options)
        except Exception as problem:
            messages.send((number, problem))
            return
        messages.send((number, verdict))
        interrupted = verdict.interrupted
