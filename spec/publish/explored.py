"""The graphs that the explorer shows: of sections, of near misses, of litmus tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from spec.bounds import program
from spec.cells import PlainCells
from spec.checker.program import Program
from spec.checker.replay import Move, moves
from spec.clients import Section
from spec.decisions import Model, sketch
from spec.litmus.files import catalogue
from spec.litmus.parser import read
from spec.litmus.program import Line, Test
from spec.litmus.run import Node as RunNode
from spec.litmus.run import Outcome, Watch, first_node, names_of, run, thread
from spec.memory import Machine, Names
from spec.publish import records, traces
from spec.publish.cores import on_all_cores
from spec.publish.graphs import DEADLOCK, Graph
from spec.publish.walk import Heeded, Node, Phase, Walk
from spec.releases import find_model
from spec.removals import Place, near_miss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spec.publish.litmus import Group
    from spec.publish.verdicts import Store

from spec.publish.explorer import Way, graph_name, sound_name, test_name

AROUND = 160
"""So many states a graph has that is made around a few traces."""
AROUND_A_TEST = 400
"""So many states the graph of a litmus test has at most."""
EVERYTHING = 1 << 30
TESTS = "litmus"
"""The source of all graphs of litmus tests."""
WHOLE = {("small", 1): ("sketch",), ("small", 2): ("sketch",)}
"""The sections that are shown as a whole, and on which models."""


# -- making graphs ---------------------------------------------------------------------


def _start_names(section: Any) -> list[str]:
    """What the initial states of a section are called."""
    if isinstance(section, Section):
        return [start or "nothing" for start in section.starts]
    return ["start"]


def _judged(made: Program, removed: Heeded) -> Program:
    """The program, judged by what it enforces and by the rules that it lacks.

    Other rules are defined for operations that obey all rules.
    """
    gone = frozenset(removed)
    return replace(made, steps=[p for p in made.steps if p.enforced or p.id in gone])


@dataclass
class Made:
    """A graph with all that its page says of it.

    Attributes:
        graph: the states and steps.
        title: what it is.
        about: what each CPU does, in words.
        model: the name of the model.
        removed: the rules that are not obeyed.
        starts: the name of each first state.
        ways: traces through it.
        ends: what is said of a state in which everything has come to its end.
    """

    graph: Graph
    title: str
    about: list[str]
    model: str
    removed: tuple[str, ...]
    starts: dict[str, Node]
    ways: dict[str, Way]
    ends: Callable[[Node], str] = lambda node: ""


def section_graph(
    place: Place,
    model: str,
    removed: tuple[str, ...] = (),
    schedules: Mapping[str, tuple[int, tuple[Move, ...]]] | None = None,
    most: int = AROUND,
) -> Made:
    """The graph of a section around some schedules, or the section as a whole.

    Args:
        place, model, removed: what is explored.
        schedules: by title, the number of an initial state and the moves from there.
        most: how many states there may be.
    """
    heeded = Heeded(removed)
    made = _judged(program(place.section, find_model(model), heeded), heeded)
    walk = Walk([Phase(made, heeded)], made.initial[0])
    graph = Graph(walk)
    names = dict(zip(_start_names(place.section), made.initial, strict=True))
    starts = {name: walk.start(state) for name, state in names.items()}
    ways: dict[str, Way] = {}
    for title, (number, schedule) in (schedules or {}).items():
        name = list(starts)[number]
        ways[title] = Way(title, name, tuple(graph.follow(starts[name], schedule)))
    shown = {way.start for way in ways.values()} or set(starts)
    starts = {name: node for name, node in starts.items() if name in shown}
    for node in starts.values():
        graph.add(node)
    graph.spread(most)
    without = f" without {' and '.join(removed)}" if removed else ""
    return Made(
        graph,
        f"{place}, {model}{without}",
        [line.replace("`", "") for line in place.section.describe()],
        model,
        removed,
        starts,
        ways,
    )


def test_graph(test: Test, model: Model, on: str, removed: tuple[str, ...]) -> Made:
    """The graph of a litmus test on a model, around its worst outcome."""
    result = run(test, model, frozenset(removed))
    names = names_of(test)
    first = first_node(test, names)
    watch = Watch(names, model)
    phases = [
        _line(line, names, model, Heeded(frozenset(removed) | model.without), watch)
        for line in test.lines
    ]
    walk = Walk(phases, first.state)
    graph = Graph(walk)
    start = walk.start(first.state)
    schedule = [
        Move(
            step.thread,
            tuple(answer for asked, answer in step.choices if asked != "operation"),
        )
        for step in (node.step for node in result.worst.node.path())
        if step is not None
    ]
    title = f"the worst outcome: {result.verdict}"
    way = Way(title, "start", tuple(graph.follow(start, schedule)))
    graph.spread(AROUND_A_TEST)

    def end(node: Node) -> str:
        state = walk.state(node)
        machine = Machine(names, cells=PlainCells(dict(state)))
        outcome = Outcome(test, RunNode(state), machine)
        failed = [f"{condition}: fails" for condition in outcome.failed]
        return "; ".join([f"The outcome is {outcome.verdict}", *failed])

    return Made(
        graph,
        f"{test.name} on {on}",
        str(test).rstrip().splitlines(),
        model.name,
        tuple(sorted(frozenset(removed) | model.without)),
        {"start": start},
        {title: way},
        end,
    )


def _line(
    line: Line, names: Names, model: Model, removed: Heeded, watch: Watch
) -> Phase:
    """One line of a test: each operation on a CPU of its own."""
    cpus = dict(zip(names.cpus, line.operations, strict=False))
    nothing = tuple(() for _ in names.cpus)
    # a section without menus: its program is there for what it judges
    empty = program(Section(names, nothing, nothing, ("",)), model, removed)
    threads = {
        cpu: partial(thread, names, model, removed, cpu, operation)
        for cpu, operation in cpus.items()
    }
    return Phase(
        replace(_judged(empty, removed), threads=threads),
        removed,
        f"{line.line}. {line}",
        {cpu: str(operation) for cpu, operation in cpus.items()},
        lambda cpu, state, outcome: watch(cpus[cpu], state, outcome),
    )


# -- which graphs there are ------------------------------------------------------------


def whole_graphs(place: Place) -> Iterator[tuple[str, Made]]:
    """The graphs of a section as a whole."""
    for model in WHOLE.get((place.bounds, place.number), ()):
        yield graph_name(place, model), section_graph(place, model, most=EVERYTHING)


def removal_graphs(place: Place) -> Iterator[tuple[str, Made]]:
    """The graphs of a section without rules, around the recorded traces."""
    found: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
    for kept in records.rows().values():
        row = kept.found
        known = {**row.breaks, **({row.rule: row.effect} if row.effect else {})}
        for id, way in known.items():
            if way.place == place:
                one = (row.model, (row.rule,))
                found.setdefault(one, {})[id] = (way.start, way.schedule)
    for pair in (kept.found for kept in records.pairs()):
        for id, way in pair.breaks.items():
            if way.place == place:
                both = (pair.model, pair.rules)
                found.setdefault(both, {})[id] = (way.start, way.schedule)
    for (model, removed), schedules in found.items():
        name = graph_name(place, model, removed)
        yield name, section_graph(place, model, removed, schedules)


def near_graphs(place: Place) -> Iterator[tuple[str, Made]]:
    """The graphs of a section with all rules, around what obeys in near misses."""
    for kept in records.rows().values():
        effect = kept.found.effect
        if effect is None or effect.place != place:
            continue
        found = near_miss(kept.found)
        assert found is not None, "it has an effect"
        steps = (*found.before.steps, *found.obeying.steps)
        schedule = moves(replace(found.before, steps=steps))
        schedules = {found.rule: (effect.start, schedule)}
        yield sound_name(found.rule), section_graph(place, found.model, (), schedules)


def places() -> list[Place]:
    """The sections that have graphs."""
    whole = {Place(bounds, number) for bounds, number in WHOLE}
    rows = [kept.found for kept in records.rows().values()]
    found = {way.place for row in rows for way in row.breaks.values()}
    found |= {row.effect.place for row in rows if row.effect}
    pairs = [kept.found for kept in records.pairs()]
    found |= {way.place for pair in pairs for way in pair.breaks.values()}
    return sorted(whole | found)


def sources() -> list[str]:
    """What there are graphs of: litmus tests, then each section by its name."""
    return [TESTS, *(f"{place.bounds}-{place.number}" for place in places())]


def place_named(name: str) -> Place:
    """The section of a name that `sources` gives.

    >>> place_named("small-1")
    Place(bounds='small', number=1)
    """
    bounds, _, number = name.rpartition("-")
    return Place(bounds, int(number))


def section_graphs(place: Place) -> dict[str, dict[str, Any]]:
    """All graphs of a section, by name, fit for JSON."""
    made = chain(whole_graphs(place), removal_graphs(place), near_graphs(place))
    return {name: as_dict(each) for name, each in made}


def test_graphs(test: Test, found: Iterable[Group]) -> dict[str, dict[str, Any]]:
    """The graphs of a litmus test: one for each way to a verdict that is not fine.

    Where all is fine, one is enough: that of the normative model.
    """
    graphs = {}
    for group in found:
        on = group.models[0]
        if group.verdict != "fine" or sketch.name in group.models:
            name, _, removed = on.partition(" without ")
            ids = tuple(filter(None, removed.split(", ")))
            made = test_graph(test, find_model(name), on, ids)
            graphs[test_name(test.name, on)] = as_dict(made)
    return graphs


def all_test_graphs(
    found: Mapping[str, Iterable[Group]],
) -> dict[str, dict[str, Any]]:
    """`test_graphs` of each test of the catalogue, given what each comes to."""
    given = [(path, found[test]) for test, path in catalogue().items()]
    made = on_all_cores(_test_graphs_of, given)
    return {name: graph for graphs in made for name, graph in graphs.items()}


def _test_graphs_of(
    given: tuple[Path, Iterable[Group]],
) -> dict[str, dict[str, Any]]:
    path, found = given
    return test_graphs(read(path), found)


def known(store: Store) -> dict[str, dict[str, Any]]:
    """All graphs that were computed, by name."""
    return {
        name: graph
        for source in sources()
        for name, graph in (store.read(f"graphs.{source}") or {}).items()
    }


# -- as data ---------------------------------------------------------------------------


class _Numbers[T](dict[T, int]):
    """Gives each thing a number, the same to the same."""

    def of(self, thing: T) -> int:
        """The number of a thing."""
        return self.setdefault(thing, len(self))


def as_dict(made: Made) -> dict[str, Any]:
    """A graph as JSON: what occurs often stands in lists and is named by number."""
    graph, walk = made.graph, made.graph.walk
    items, says, names = _Numbers[Any](), _Numbers[Any](), _Numbers[str]()
    stands = _Numbers[Any]()
    edges: list[Any] = []
    broken: dict[int, list[str]] = {}
    ends: dict[int, str] = {}
    states, standing = [], []
    for node, number in graph.nodes.items():
        states.append([items.of(item) for item in walk.seen(node)])
        standing.append(stands.of(tuple(walk.standing(node))))
        if ids := walk.broken(node):
            broken[number] = list(ids)
        if node not in graph.edges:
            edges.append(0)
            continue
        steps = graph.edges[node]
        if walk.stuck(node, steps):
            broken[number] = [*broken.get(number, []), DEADLOCK]
        if not steps and (said := made.ends(node)):
            ends[number] = said
        edges.append(
            [
                number
                for name, edge in zip(graph.names(node), steps, strict=True)
                for number in (
                    names.of(name),
                    says.of(edge.said),
                    graph.nodes[edge.target],
                )
            ]
        )
    return {
        "title": made.title,
        "about": made.about,
        "model": made.model,
        "removed": list(made.removed),
        "complete": graph.complete,
        "cpus": [traces.title(name) for name in walk.threads],
        "phases": [phase.title for phase in walk.phases],
        "phase": [node[0] for node in graph.nodes] if len(walk.phases) > 1 else [],
        "items": [
            [item.kind, item.name, item.target, item.lines, item.parts]
            for item in items
        ],
        "says": [
            [s.cpu, s.title, s.phrases, s.kept, s.removed, s.broken] for s in says
        ],
        "names": list(names),
        "stands": list(stands),
        "states": states,
        "standing": standing,
        "edges": edges,
        "broken": broken,
        "ends": ends,
        "starts": {name: graph.nodes[node] for name, node in made.starts.items()},
        "ways": {
            title: {"title": way.title, "start": way.start, "steps": way.steps}
            for title, way in made.ways.items()
        },
    }
