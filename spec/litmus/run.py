"""Run a litmus test on a model: every outcome, and the verdict.

Each line is a small program of the checker: one thread, or one for each operation of
a race. All interleavings and all permissions (`may`) are followed, and what they lead
to, less duplicates, is where the next line begins.

What went wrong on the way is noted where it happens, in the terms of the debate:

* *missed COW*: a page is mapped writable although another process maps it or holds a
  reference to it, or the holder of a protected reference writes to such a page;
* *wrong COW*: the address of a protected reference maps another page (AE-INV-2);
* *lost*: an address does not read what was last written (AE-INV-8), a write is not
  noticed by who tracks writes (AE-INV-11), the counts are wrong, or a page is used
  after it was freed (AE-INV-3);
* *side effect*: soft-dirty or userfaultfd is told of a write that nobody makes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from operator import eq, ge, gt, itemgetter, le, lt, ne
from typing import Any

from spec import fault, fork, gup_fast, move, protect
from spec.bit import mappings, others
from spec.cells import Cells, PlainCells, SpecificationError
from spec.checker.program import Trace, TraceStep
from spec.checker.steps import DONE, History, Location, Stepper
from spec.checker.steps import Outcome as StepOutcome
from spec.counts import bit_of, vm_normal_page, walk
from spec.decisions import Model
from spec.litmus.program import (
    VERDICTS,
    And,
    Comparison,
    Condition,
    Copies,
    Fact,
    Formula,
    Line,
    Not,
    Number,
    Operation,
    Or,
    Place,
    Same,
    Term,
    Test,
    Void,
)
from spec.memory import Machine, Mm, Names, NonPresent, Page, Pte, Steps
from spec.models import governs
from spec.operations import ON_MACHINE, ON_PAGES, OPERATIONS
from spec.rules import Step, load

COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}
COPIES = "copies"
WRONGS = "wrongs"
"""Cells that no operation sees: how many copies were made, what went wrong."""
VERDICT_OF = {
    "AE-INV-2": "wrong-cow",
    "AE-INV-3": "lost",
    "AE-INV-8": "lost",
    "AE-INV-11": "lost",
}
SAME_AS = {
    "madvise pageout": "swapout",
    "madvise unmergeable": "unmerge",
    "split-pmd": "split pmd",
}
"""Words that the tables of operations have under another name."""
SWAP_WORDS = ("swapout", "reclaim", "madvise pageout")
HUGE_WORDS = {"collapse", "madvise hugepage"}


# -- operations -----------------------------------------------------------------------


def result_cell(operation: Operation) -> str:
    """The cell that holds what an operation gave, ``None`` before it has."""
    return f"result at {operation.line}:{operation.column}"


def perform(machine: Machine, operation: Operation) -> Steps:
    """The operation of the specification that one operation of a test stands for."""
    if operation.by_reference:
        return use(machine, operation)
    word = SAME_AS.get(operation.word, operation.word)
    if word in ON_MACHINE:
        return ON_MACHINE[word](machine)
    mm, va = machine.mms[operation.actor], str(operation.address)
    if word in ON_PAGES:
        return on_page(ON_PAGES[word], mm, va)
    match word:
        case "write":
            return fault.write(mm, va, operation.value or 0)
        case "mprotect":
            return OPERATIONS[f"mprotect {operation.protection}"](mm, va)
        case "force-write":
            return protect.write_force(mm, va, operation.value or 0)
        case "mremap":
            return move.mremap(mm, va, str(operation.target))
        case "uffdio-move":
            return move.uffdio_move(mm, va, str(operation.target))
        case "fork":
            return fork.fork(mm, machine.mms[str(operation.child)])
        case "gup":
            assert operation.foll is not None
            ref = machine.refs[str(operation.reference)]
            return gup_fast.ENTRIES[operation.entry](mm, va, ref, operation.foll)
    return OPERATIONS[word](mm, va)


def is_no_write(operation: Operation) -> bool:
    """Whether the operation looks at memory, or breaks COW, and writes nothing."""
    reads = operation.foll is not None and not operation.foll.write
    return reads or operation.word in ("read", "unmerge", "madvise unmergeable")


def on_page(act: Callable[[Page], Steps], mm: Mm, va: str) -> Steps:
    """What the kernel does to the page that an address maps or leads to."""
    pte = mm.pte[va]
    page = vm_normal_page(mm, walk(mm, va))
    if page is None and isinstance(pte, NonPresent):
        page = mm.machine.pages.get(str(pte.leads_to(mm.machine)))
    if page is not None:
        yield from act(page)


def use(machine: Machine, operation: Operation) -> Steps:
    """The holder of a reference reads, writes or lets go; gives what it read.

    A void reference gives ``None``, and writing to it has no effect.
    """
    ref = machine.refs[operation.actor]
    if ref.state == "free":
        return None
    page = machine.pages.get(str(ref.pfn))
    value = 0 if page is None else page.value
    if operation.word == "write":
        # a generator like every operation, though it is a single step
        yield from gup_fast.device_write(ref, operation.value or 0)
    if operation.word == "put":
        gup_fast.put(machine.mms[str(ref.mm)], ref)
    return value


def thread(
    names: Names,
    model: Model,
    without: frozenset[str],
    cpu: str,
    operation: Operation,
    cells: Cells,
) -> Steps:
    """One operation on one CPU, for the checker."""
    machine = Machine(names, model, cells, cpu, without)
    # a thread of the checker stands before its first step when it is made
    yield None
    result = yield from perform(machine, operation)
    cells.write(result_cell(operation), result)


def names_of(test: Test) -> Names:
    """A machine with all that the test names, and as many pages as it can use."""
    cpus = max(len(line.operations) for line in test.lines)
    mappings = len(test.processes) * len(test.addresses)
    pages = mappings + len(test.references) + cpus
    words = {operation.word for operation in test.operations}
    if words & HUGE_WORDS:
        # a large folio needs a row of free pages, and may find none among so few
        pages = (pages + len(test.operations)) * len(test.addresses)
    swaps = not words.isdisjoint(SWAP_WORDS)
    return Names(
        mms=test.processes,
        pages=tuple(f"p{i + 1}" for i in range(pages)),
        refs=test.references,
        cpus=tuple(f"cpu{i}" for i in range(cpus)),
        vas=test.addresses,
        slots=tuple(f"s{i + 1}" for i in range(mappings + 1)) if swaps else (),
    )


# -- outcomes -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Node:
    """A state of a run and how it came about.

    Attributes:
        state: all cells.
        line: the line of the test that is being played, from 0.
        locations: where its threads stand.
        parent: the node before, ``None`` for the first.
        step: what happened in between; ``None`` where a line begins.
    """

    state: Mapping[str, Any]
    line: int = -1
    locations: tuple[Location, ...] = ()
    parent: Node | None = None
    step: TraceStep | None = None

    @property
    def key(self) -> Hashable:
        """Nodes of one line with one key have the same future."""
        return tuple(self.state.values()), self.locations

    @property
    def done(self) -> bool:
        """Whether all threads of the line have come to their end."""
        return all(location == DONE for location in self.locations)

    def path(self) -> list[Node]:
        """The nodes from the first to this one."""
        nodes = [self]
        while nodes[-1].parent is not None:
            nodes.append(nodes[-1].parent)
        return nodes[::-1]


@dataclass(frozen=True, eq=False)
class Outcome:
    """One way in which a test can end.

    Attributes:
        test: which test.
        node: the last state, with its past.
        machine: a machine to read the last state through.
    """

    test: Test
    node: Node
    machine: Machine

    @property
    def copies(self) -> int:
        """The pages that faults and fork copied."""
        copies: int = self.node.state[COPIES]
        return copies

    @property
    def wrongs(self) -> frozenset[str]:
        """What went wrong on the way: verdicts and ids of guarantees."""
        wrongs: frozenset[str] = self.node.state[WRONGS]
        return wrongs

    @cached_property
    def values(self) -> dict[str, Any]:
        """What named reads gave; ``None`` after SIGSEGV."""
        return {
            operation.result: self.node.state[result_cell(operation)]
            for operation in self.test.operations
            if operation.result is not None
        }

    @cached_property
    def references(self) -> dict[str, Any]:
        """What each reference reads at the end, or read when put; ``None`` if void."""
        return {name: self._reads(name) for name in self.test.references}

    def _reads(self, name: str) -> Any:
        ref = self.machine.refs[name]
        if ref.state == "live":
            page = self.machine.pages.get(str(ref.pfn))
            return 0 if page is None else page.value
        puts = [
            operation
            for operation in self.test.operations
            if operation.word == "put" and operation.actor == name
        ]
        return self.node.state[result_cell(puts[0])] if puts else None

    def page(self, place: Place) -> str | None:
        """The page that a place leads to, ``None`` if it leads to none."""
        if place.is_reference:
            ref = self.machine.refs[place.name]
            return ref.pfn if ref.state == "live" else None
        pte = self._walk(place)
        return None if pte is None else pte.pfn

    def _walk(self, place: Place) -> Pte | None:
        return walk(self.machine.mms[place.name], place.address)

    def holds(self, formula: Formula, copies: int | None = None) -> bool:
        """Whether `formula` is true of this outcome.

        Args:
            formula: a condition without its ``forbid`` or ``require``.
            copies: take this many copies instead of those that were made.
        """
        match formula:
            case Comparison(left, operator, right):
                terms = [self._term(term, copies) for term in (left, right)]
                return None not in terms and COMPARE[operator](*terms)
            case Same(left, right):
                return self.page(left) is not None and self.page(left) == self.page(
                    right
                )
            case Fact(word, place):
                return self._is(word, place)
            case Void(reference):
                return self.references[reference] is None
            case Not(part):
                return not self.holds(part, copies)
            case And(parts):
                return all(self.holds(part, copies) for part in parts)
            case Or(parts):
                return any(self.holds(part, copies) for part in parts)

    def _is(self, word: str, place: Place) -> bool:
        """Whether `word` is true of a place: exclusive, swapped or huge."""
        page = self.machine.pages.get(str(self.page(place)))
        if word == "exclusive":
            return page is not None and bit_of(page).anon_exclusive
        mm = self.machine.mms[place.name]
        if word == "huge":
            return mm.pmd is not None
        entry = mm.pte[place.address]
        return isinstance(entry, NonPresent) and any(
            entry.names(slot) for slot in self.machine.slots.values()
        )

    def _term(self, term: Term, copies: int | None) -> Any:
        match term:
            case Number(value):
                return value
            case Copies():
                return self.copies if copies is None else copies
            case _:
                known = self.references if term.is_reference else self.values
                return known[term.name]

    def meets(self, condition: Condition, copies: int | None = None) -> bool:
        """Whether this outcome is one that the condition allows."""
        return self.holds(condition.formula, copies) == (condition.word == "require")

    @cached_property
    def failed(self) -> tuple[Condition, ...]:
        """The conditions that this outcome does not meet."""
        return tuple(c for c in self.test.conditions if not self.meets(c))

    @cached_property
    def verdict(self) -> str:
        """The class of this outcome, one of `VERDICTS`.

        A wrong that happened names the class, whether or not a condition looks for
        it. Otherwise a condition that would hold if fewer copies had been made speaks
        of cost. Any other failure is something that the model does not promise.
        """
        happened = self.wrongs & set(VERDICTS)
        if happened:
            return max(happened, key=VERDICTS.index)
        if not self.failed:
            return "fine"
        costs = all(
            any(self.meets(condition, copies) for copies in range(self.copies))
            for condition in self.failed
        )
        return "unnecessary-copy" if costs else "not-guaranteed"


@dataclass(frozen=True, eq=False)
class Result:
    """All outcomes of a test on a model.

    Attributes:
        test: which test.
        model: the name of the model.
        after: for each line, the states in which it can leave the machine.
        outcomes: after the last line.
        names: what exists in the machine.
    """

    test: Test
    model: str
    names: Names
    after: tuple[tuple[Node, ...], ...]
    outcomes: tuple[Outcome, ...]

    @cached_property
    def worst(self) -> Outcome:
        """An outcome of the most severe class; of these, the one with fewest steps."""
        return max(self.outcomes, key=lambda o: VERDICTS.index(o.verdict))

    @property
    def verdict(self) -> str:
        """The class of the worst outcome."""
        return self.worst.verdict

    @property
    def as_expected(self) -> bool:
        """Whether the file states this verdict, or states none."""
        return self.test.expected(self.model) in (None, self.verdict)


# -- exploration ----------------------------------------------------------------------


def run(test: Test, model: Model, without: frozenset[str] = frozenset()) -> Result:
    """Every outcome of `test` on `model`.

    Args:
        test: a parsed test.
        model: who answers the decisions of the protocol.
        without: ids of rules that are not obeyed.

    Raises:
        SpecificationError: an operation waits for ever, or never ends: the
            specification is wrong, or a rule is missing.

    >>> from spec.litmus.parser import parse
    >>> from spec.models import MODELS
    >>> leak = parse('''litmus leak
    ... A: write 1
    ... A: fork B
    ... B: gup r = ro get
    ... B: munmap
    ... A: write 2
    ... forbid r == 2''')
    >>> [run(leak, MODELS[name]).verdict for name in ("mapcount", "sketch")]
    ['missed-cow', 'fine']
    """
    names = names_of(test)
    player = _Player(names, model, without | model.without, _most_copies(test))
    nodes: tuple[Node, ...] = (first_node(test, names),)
    after = []
    for number, line in enumerate(test.lines):
        nodes = tuple(player.play(number, line, nodes))
        if not nodes:
            raise SpecificationError(f"'{line}' never ends on {model.name}")
        after.append(nodes)
    outcomes = (
        Outcome(test, node, Machine(names, cells=PlainCells(dict(node.state))))
        for node in nodes
    )
    return Result(test, model.name, names, tuple(after), tuple(outcomes))


def _most_copies(test: Test) -> int:
    """More than any run makes: each operation copies each address, and once more."""
    return 2 * len(test.operations) * len(test.addresses)


def first_node(test: Test, names: Names) -> Node:
    """The state in which a test begins, with the cells of its results."""
    cells = PlainCells({})
    machine = Machine(names, cells=cells)
    cells.values.update(machine.initial())
    machine.start(test.processes[0])
    results = {result_cell(operation): None for operation in test.operations}
    return Node({**cells.values, **results, COPIES: 0, WRONGS: frozenset()})


class _Player:
    """Plays one line after the other.

    Args:
        names: what exists.
        model: who answers the decisions.
        without: ids of rules that are not obeyed.
        most_copies: more copies than these tell of an operation that never ends.
    """

    def __init__(
        self, names: Names, model: Model, without: frozenset[str], most_copies: int
    ) -> None:
        self.names = names
        self.model = model
        self.without = without
        self.most_copies = most_copies
        self.watch = Watch(names, model)

    def play(self, number: int, line: Line, starts: Iterable[Node]) -> Iterator[Node]:
        """The nodes in which a line can end, begun in any of `starts`.

        Breadth first, so that each comes with the fewest steps from its start.
        """
        threads = [
            _Thread(cpu, operation, self._stepper(cpu, operation))
            for cpu, operation in zip(self.names.cpus, line.operations, strict=False)
        ]
        begin = tuple(thread.begin for thread in threads)
        queue = deque(Node(node.state, number, begin, parent=node) for node in starts)
        seen = {node.key for node in queue}
        while queue:
            node = queue.popleft()
            if node.state[COPIES] > self.most_copies:
                raise SpecificationError(f"'{line}' never ends on {self.model.name}")
            if node.done:
                yield node
                continue
            successors = list(self._successors(node, threads))
            if not successors:
                raise SpecificationError(
                    f"'{line}' waits for ever on {self.model.name}"
                )
            for new in successors:
                if new.key not in seen:
                    seen.add(new.key)
                    queue.append(new)

    def _stepper(self, cpu: str, operation: Operation) -> Stepper:
        code = partial(thread, self.names, self.model, self.without, cpu, operation)
        return Stepper(code)

    def _successors(self, node: Node, threads: list[_Thread]) -> Iterator[Node]:
        for i, thread in enumerate(threads):
            for reads, outcome in thread.outcomes(node.locations[i], node.state):
                yield Node(
                    self.watch(thread.operation, node.state, outcome),
                    node.line,
                    (
                        *node.locations[:i],
                        outcome.location,
                        *node.locations[i + 1 :],
                    ),
                    node,
                    thread.trace_step(node, reads, outcome, i),
                )


class _Thread:
    """One operation of a line, and the ways in which it came to where it stands."""

    def __init__(self, cpu: str, operation: Operation, stepper: Stepper) -> None:
        start = stepper.start()
        self.cpu = cpu
        self.operation = operation
        self.stepper = stepper
        self.begin = start.location
        self.histories: dict[Location, History] = {start.location: start.history}

    def outcomes(
        self, location: Location, state: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, Any], StepOutcome]]:
        """What the next step can do, with what it reads; nothing if it waits."""
        if location == DONE:
            return
        history = self.histories[location]
        for reads, outcome in self.stepper.outcomes(history, state.__getitem__):
            self.histories.setdefault(outcome.location, outcome.history)
            yield reads, outcome

    def trace_step(
        self, node: Node, reads: dict[str, Any], outcome: StepOutcome, i: int
    ) -> TraceStep:
        """The step in the form in which traces are drawn."""
        own = result_cell(self.operation)
        writes = {key: value for key, value in outcome.writes.items() if key != own}
        began = node.locations[i] == self.begin
        return TraceStep(
            thread=self.cpu,
            functions=outcome.functions[1:],
            reads=tuple(reads.items()),
            writes=tuple((key, node.state[key], new) for key, new in writes.items()),
            choices=(
                *([("operation", str(self.operation))] if began else []),
                *outcome.choices,
            ),
            broken=outcome.raised,
        )


@lru_cache(maxsize=4)
def _known(
    names: Names, guarantees: tuple[str, ...]
) -> dict[Hashable, tuple[str, ...]]:
    """What is wrong in states of a machine, kept since models meet the same states."""
    return {}


class Watch:
    """Looks at each step: counts copies and notes what went wrong.

    Args:
        names: what exists.
        model: whose promises the guarantees speak of.
    """

    def __init__(self, names: Names, model: Model) -> None:
        self.before = PlainCells({})
        self.after = PlainCells({})
        self.step = Step(
            Machine(names, cells=self.before), Machine(names, cells=self.after), set()
        )
        self.guarantees = [
            rule
            for rule in load().values()
            if rule.topic == "INV"
            and rule.over == "state"
            and rule.world == "mm"
            and governs(rule, model)
        ]
        self._cells = itemgetter(*dict(self.step.after.initial()))
        self._known = _known(names, tuple(rule.id for rule in self.guarantees))

    def __call__(
        self, operation: Operation, state: Mapping[str, Any], outcome: StepOutcome
    ) -> dict[str, Any]:
        """The state after a step of `operation`, with `COPIES` and `WRONGS`."""
        after = {**state, **outcome.writes}
        self.before.values = dict(state)
        self.after.values = after
        self.step.assign(set(outcome.writes))
        copied = [*self.step.copies_into_child(), *self.step.replaces()]
        after[COPIES] += len(copied)
        after[WRONGS] |= {*outcome.raised, *self._wrongs(operation)}
        after[WRONGS] |= {VERDICT_OF[i] for i in after[WRONGS] & VERDICT_OF.keys()}
        return after

    def _wrongs(self, operation: Operation) -> Iterator[str]:
        cells = self._cells(self.after.values)
        if cells not in self._known:
            self._known[cells] = tuple(self._wrong_in_state())
        yield from self._known[cells]
        if self._leaks(operation):
            yield "missed-cow"
        if is_no_write(operation) and any(self._told_of_writes()):
            yield "side-effect"

    def _wrong_in_state(self) -> Iterator[str]:
        """What the state after the step shows, however it was come to."""
        yield from (r.id for r in self.guarantees if not r.holds(self.step.after))
        if any(self._shared_writable()):
            yield "missed-cow"

    def _shared_writable(self) -> Iterator[bool]:
        """A page is writable here and another process, or its reference, has it."""
        machine = self.step.after
        for page in machine.pages.values():
            for mm, pte in mappings(machine, page):
                yield pte.writable and bool(others(machine, mm, page))

    def _leaks(self, operation: Operation) -> bool:
        """What is written without a writable PTE reaches another process."""
        return self._device_leaks(operation) or any(
            others(self.step.before, mm, page)
            for mm, _, page in protect.forced_writes(self.step)
        )

    def _told_of_writes(self) -> Iterator[bool]:
        """Whoever has to notice the next write to an address notices one here."""
        for name, mm in self.step.before.mms.items():
            for va in self.step.before.names.vas:
                now = self.step.after.mms[name].tracked[va]
                yield bool(mm.tracked[va]) and not now

    def _device_leaks(self, operation: Operation) -> bool:
        """A protected reference writes to a page that another process has as well."""
        if not operation.by_reference or operation.word != "write":
            return False
        machine = self.step.before
        ref = machine.refs[operation.actor]
        page = machine.pages.get(str(ref.pfn))
        if page is None or not ref.protected:
            return False
        return bool(others(machine, machine.mms[str(ref.mm)], page))


# -- how it came about ----------------------------------------------------------------


def trace(node: Node, line: int) -> Trace:
    """The steps of one line (from 0) on the way to `node`."""
    start, *played = [each for each in node.path() if each.line == line]
    steps = tuple(each.step for each in played if each.step is not None)
    return Trace(dict(start.state), steps)
