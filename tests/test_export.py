"""The exports for other checkers: Spin and a tiny reader of TLA+ count the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from spec.bounds import BOUNDS, KSM, MIGRATION, RECLAIM, SMALL
from spec.cells import Broken, SpecificationError
from spec.checker.program import Program, StateProperty, StepProperty
from spec.cli import main
from spec.export import spin
from spec.export.guarded import GuardedProgram, guarded, identifiers
from spec.export.promela import (
    ADDED_STATES,
    MOST_JUMPS,
    added_transitions,
    promela,
)
from spec.export.tables import tabled
from spec.export.tla import tla
from spec.handover import Origin

needs_spin = pytest.mark.skipif(
    bool(spin.missing()), reason=f"not installed: {', '.join(spin.missing())}"
)
DEPTH = 100_000
SECTIONS = {
    "small-1": SMALL[0],
    "small-2": SMALL[1],
    "reclaim": RECLAIM[0],
    "migration": MIGRATION[6],
    "ksm": KSM[4],
    "ordering": BOUNDS["ordering"].sections[-1],
}


ABLATIONS = [
    ("small-2", "AE-FORK-2", {"AE-INV-1", "AE-INV-2"}),
    ("small-2", "AE-FORK-4", {"AE-INV-5"}),
    ("small-2", "AE-FORK-5", {"AE-INV-1"}),
    ("small-2", "AE-GUP-2", set()),
    ("reclaim", "AE-SWAP-7", {"AE-INV-8"}),
    ("reclaim", "AE-SWAP-1", set()),
    ("migration", "AE-MIGR-6", {"AE-INV-1"}),
    ("ordering", "AE-ORD-7", {"AE-INV-10"}),
]


def grows(cells):
    """A thread that adds one to a cell, twice."""
    yield
    for _ in range(2):
        cells.write("n", cells.read("n") + 1)
        yield


def raises(cells):
    """A thread whose step itself says that it breaks a guarantee."""
    yield
    yield
    raise Broken("AE-INV-3", "because")


def waits(cells):
    """A thread that waits for what never comes."""
    yield
    yield lambda: cells.read("n") > 9


TOYS = {
    "a state": Program(
        [{"n": 0}, {"n": 1}],
        {"one": grows, "two": grows},
        states=[StateProperty("below", lambda cells: cells.read("n") < 4)],
    ),
    "a step": Program(
        [{"n": 0}],
        {"one": grows},
        steps=[StepProperty("constant", lambda before, after, written: not written)],
    ),
    "a step by what others did": Program(
        [{"n": 0, "m": 0}, {"n": 0, "m": 1}],
        {"one": grows},
        steps=[
            StepProperty("even", lambda before, after, written: before.read("m") == 0)
        ],
    ),
    "a step that raises": Program([{"n": 0}], {"one": raises, "two": grows}),
    "a deadlock": Program([{"n": 0}], {"one": grows, "two": waits}),
}


@cache
def explored(section: str, *without: str) -> GuardedProgram:
    origin = Origin("small", 1, SECTIONS[section], "sketch", without)
    return origin.explored()


@dataclass(frozen=True)
class Counted:
    """What a checker found, without what the export adds."""

    states: int
    transitions: int
    violated: frozenset[str]


def by_checker(made: GuardedProgram) -> Counted:
    names = identifiers(made.violations)
    violated = {"deadlock" if id == "deadlock" else names[id] for id in made.violations}
    return Counted(made.states, made.transitions, frozenset(violated))


def searched(model: str, folder: Path, *options: str) -> spin.SpinRun:
    """What Spin finds, with nothing but the model and what it includes."""
    file = folder / "model.pml"
    file.write_text(model)
    spin.build(file, folder, *options)
    return spin.search(folder, DEPTH)


def counted(made: GuardedProgram, run: spin.SpinRun, judging: int = 0) -> Counted:
    """Spin's counts without what the export adds, and transitions that only judge."""
    transitions = run.transitions - added_transitions(made) - judging
    return Counted(run.states - ADDED_STATES, transitions, frozenset(run.failed))


def by_statements(made: GuardedProgram, folder: Path, rules: bool = False) -> Counted:
    """Spin's counts; where a state breaks a property it takes one step more."""
    run = searched(promela(made, "", rules), folder, "-O0")
    names = identifiers(made.properties).values()
    return counted(made, run, sum(run.failed.get(name, 0) for name in names))


def by_tables(made: GuardedProgram, folder: Path, rules: bool = False) -> Counted:
    """Spin's counts where it looks commands up; states are judged without a step."""
    found = tabled(made, "", "tables.h", rules)
    (folder / "tables.h").write_text(found.header)
    return counted(made, searched(found.model, folder, "-O0"))


in_both_ways = pytest.mark.parametrize("by_spin", [by_statements, by_tables])


def lacking(made: GuardedProgram, number: int) -> GuardedProgram:
    """The same without one command of its last thread."""
    *others, last = made.threads
    kept = (*last.commands[:number], *last.commands[number + 1 :])
    return replace(made, threads=(*others, replace(last, commands=kept)))


# -- Spin ------------------------------------------------------------------------------


# As statements these two are more C than others, which gcc takes long for.
LONG = {("small-1", by_statements), ("ksm", by_statements)}
COUNTED = [
    pytest.param(section, by, marks=[pytest.mark.slow] if (section, by) in LONG else [])
    for section in SECTIONS
    for by in (by_statements, by_tables)
]


@needs_spin
@pytest.mark.parametrize(("section", "by_spin"), COUNTED)
def test_spin_counts_the_same(section, by_spin, tmp_path):
    made = explored(section)
    assert not made.violations
    assert by_spin(made, tmp_path) == by_checker(made)


LARGER = [
    pytest.param(n, marks=[] if n in (1, 9, 13) else pytest.mark.slow)
    for n in range(1, len(BOUNDS["standard"].sections) + 1)
]


@needs_spin
@pytest.mark.parametrize("number", LARGER)
def test_spin_counts_the_same_in_standard(number, tmp_path):
    section = BOUNDS["standard"].sections[number - 1]
    made = Origin("standard", number, section, "sketch").explored()
    assert by_tables(made, tmp_path) == by_checker(made)


@needs_spin
@in_both_ways
@pytest.mark.parametrize(("section", "rule", "breaks"), ABLATIONS)
def test_spin_gives_the_same_verdict_without_a_rule(
    section, rule, breaks, by_spin, tmp_path
):
    made = explored(section, rule)
    assert set(made.violations) == breaks
    assert by_spin(made, tmp_path) == by_checker(made)


@needs_spin
@in_both_ways
def test_spin_judges_steps_as_well(by_spin, tmp_path):
    made = explored("small-2")
    assert by_spin(made, tmp_path, rules=True) == by_checker(made)


@needs_spin
@in_both_ways
def test_spin_misses_a_command_that_is_dropped(by_spin, tmp_path):
    made = explored("small-2")
    found = by_spin(lacking(made, 7), tmp_path)
    assert found.transitions < made.transitions


@needs_spin
@in_both_ways
def test_spin_tells_a_state_of_which_nothing_is_known(by_spin, tmp_path):
    """A page with a count and no holder: where nobody has been, nothing holds."""
    made = explored("small-2")
    first, *others = made.initial
    wrong = replace(made, initial=({**first, "p1.refcount": 1}, *others))
    assert "AE_INV_3" in by_spin(wrong, tmp_path).violated


@needs_spin
@in_both_ways
@pytest.mark.parametrize("toy", TOYS)
def test_spin_names_what_breaks(toy, by_spin, tmp_path):
    made = guarded(TOYS[toy])
    found = by_spin(made, tmp_path)
    assert found == by_checker(made)
    assert found.violated


@pytest.mark.parametrize("sign", ["max search depth too small", "out of memory"])
def test_a_search_that_is_not_exhaustive_is_no_result(sign):
    with pytest.raises(spin.SpinError, match=sign):
        spin.read(f"error: {sign}", 0.0)


@needs_spin
def test_a_verifier_prints_all_digits_of_its_counts(tmp_path):
    """Of a hundred million transitions Spin would print the first eight digits."""
    (tmp_path / "one.pml").write_text("init { skip }\n")
    spin.build(tmp_path / "one.pml", tmp_path)
    text = (tmp_path / "pan.c").read_text(encoding="latin-1")
    for what in ("states, stored", "transitions (= stored+matched)"):
        assert f'"%9.0f {what}' in text
        assert f"8g {what}" not in text
    assert spin.search(tmp_path, 100).states > 0


def test_a_model_that_spin_does_not_take_is_a_sentence():
    made = explored("small-2")
    thread, *others = made.threads
    (command, *_) = thread.commands
    places = (*thread.places, *[thread.places[0]] * MOST_JUMPS)
    commands = tuple(replace(command, target=n) for n in range(len(places)))
    larger = replace(thread, places=places, commands=commands)
    with pytest.raises(SpecificationError, match="Spin takes 2,040"):
        promela(replace(made, threads=(larger, *others)), "")


# -- TLA+ ------------------------------------------------------------------------------


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\\in|->|\[\]|\w+|[(){},]')
Row = dict[str, str]


class Module:
    """Just enough of TLA+ to run a module that was exported."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"(?s)\(\*.*?\*\)|\\\*[^\n]*", "", text)
        parts = re.split(r"(?m)^(\w+) ==", text)
        self.defined = dict(zip(parts[1::2], parts[2::2], strict=True))
        self.variables = names_in(re.search(r"VARIABLES ([\w\s,]*)", text)[1])
        self.invariants = {
            name: TOKEN.findall(body)
            for name, body in self.defined.items()
            if re.search("CASE|^ (TRUE|FALSE)", body) and not name.startswith("at_")
        }
        resting = re.findall(r"(\w+) \\in {([^}]*)}", self.defined["NoDeadlock"])
        self.resting = {name: set(TOKEN.findall(places)) for name, places in resting}
        self.commands = [
            self.command(guard, then)
            for action in names_in(self.defined["Next"])
            for guard, then in re.findall(
                r"\\/ (/\\ .*)\n((?: {5}/\\ .*\n)+)", self.defined[action]
            )
        ]

    def command(self, guard: str, then: str) -> tuple[Row, Row]:
        """What is found and what is assigned; every variable has one next value."""
        after = re.findall(r"(\w+)' = (\"[^\"]*\")", then)
        (kept,) = re.findall(r"UNCHANGED (\w+)", then)
        named = [name for name, _ in after] + names_in(self.defined[kept])
        assert sorted(named) == sorted(self.variables)
        return dict(re.findall(r'(\w+) = ("[^"]*")', guard)), dict(after)

    def run(self) -> Counted:
        """Every state that can be reached, and the invariants that are broken."""
        found = re.findall(r"\\/ /\\ (.*)", self.defined["Init"])
        frontier = [dict(re.findall(r'(\w+) = ("[^"]*")', each)) for each in found]
        seen = {tuple(sorted(row.items())) for row in frontier}
        transitions, violated = 0, set()
        while frontier:
            row = frontier.pop()
            rows = [
                {**row, **then}
                for guard, then in self.commands
                if guard.items() <= row.items()
            ]
            transitions += len(rows)
            violated |= self.violated(row, bool(rows))
            for after in rows:
                if (key := tuple(sorted(after.items()))) not in seen:
                    seen.add(key)
                    frontier.append(after)
        return Counted(len(seen), transitions, frozenset(violated))

    def violated(self, row: Row, moves: bool) -> set[str]:
        broken = {
            name
            for name, tokens in self.invariants.items()
            if self.value(tokens.copy(), row) != "TRUE"
        }
        rests = all(row[name] in places for name, places in self.resting.items())
        return broken if moves or rests else broken | {"deadlock"}

    def value(self, tokens: list[str], row: Row) -> str:
        """Take one expression from the tokens; its value in a state."""
        if (first := tokens.pop(0)) != "(":
            return first
        found, separator = "", tokens.pop(0)
        while separator != ")":
            name = tokens.pop(0)
            holds = name == "OTHER" or row[name] in self.strings(tokens)
            assert tokens.pop(0) == "->"
            value = self.value(tokens, row)
            found = found or (value if holds else "")
            separator = tokens.pop(0)
        return found

    def strings(self, tokens: list[str]) -> list[str]:
        end = tokens.index("}")
        taken, tokens[: end + 1] = tokens[:end], []
        return taken


def names_in(text: str) -> list[str]:
    return re.findall(r"\w+", text.partition("\n\n")[0])


@pytest.mark.parametrize("rule", ["", "AE-FORK-2", "AE-FORK-5", "AE-GUP-2"])
def test_the_module_counts_the_same(rule):
    made = explored("small-2", *filter(None, [rule]))
    assert Module(tla(made, "small_2", "")).run() == by_checker(made)


@pytest.mark.parametrize("toy", ["a state", "a deadlock"])
def test_the_module_names_what_breaks(toy):
    made = guarded(TOYS[toy])
    assert Module(tla(made, "toy", "")).run() == by_checker(made)


@pytest.mark.parametrize(
    ("toy", "id"),
    [
        ("a step", "constant"),
        ("a step by what others did", "even"),
        ("a step that raises", "AE-INV-3"),
    ],
)
def test_the_module_asserts_what_a_step_breaks(toy, id):
    asserted = re.findall(r'Assert\((.*), "(.*)"\)', tla(guarded(TOYS[toy]), "toy", ""))
    assert {name for _, name in asserted} == {id}


def test_the_module_misses_any_command_that_is_dropped():
    made = explored("small-2")
    for number in range(0, len(made.threads[-1].commands), 9):
        found = Module(tla(lacking(made, number), "small_2", "")).run()
        assert found.transitions < made.transitions


def test_brackets_are_closed_and_names_defined():
    text = tla(explored("small-1"), "small_1", "", rules=True)
    assert all(text.count(a) == text.count(b) for a, b in ("()", "{}", ("<<", ">>")))
    assert text.startswith("---- MODULE small_1 ----\n")
    assert text.endswith("\n====\n")


# -- the command line ------------------------------------------------------------------


def export(*words: str):
    return CliRunner().invoke(main, ["export", *words])


@pytest.mark.parametrize(
    ("language", "files"),
    [
        ("promela", {"small-1.pml", "small-2.pml"}),
        ("tla", {"small_1.tla", "small_1.cfg", "small_2.tla", "small_2.cfg"}),
    ],
)
def test_the_command_writes_a_file_for_each_section(tmp_path, language, files):
    words = ["--to", language, "--without", "ae-fork-5", "--model", "upstream"]
    done = export(*words, str(tmp_path))
    assert done.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == files
    assert done.output.split() == [str(tmp_path / name) for name in sorted_(files)]
    for path in tmp_path.glob("*[!g]"):
        assert "Model upstream, without AE-FORK-5\n" in path.read_text()


def sorted_(files: set[str]) -> list[str]:
    """In the order in which they are written."""
    return sorted(files, key=lambda name: (name.partition(".")[0], name[::-1]))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", "tla", "--bounds", "smal"], "the nearest is 'small'"),
        (["--to", "promela", "--model", "upsteam"], "the nearest is 'upstream'"),
        (["--to", "promela", "--without", "AE-INV-1"], "no rule that operations obey"),
        (["--to", "lkmm", "--bounds", "small"], "tests for lkmm are always the same"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(tmp_path, words, says):
    done = export(*words, str(tmp_path))
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    done = export("--to", "promela", "--bounds", "large", str(tmp_path / "file" / "x"))
    assert done.exit_code == 2
    assert "Error: cannot write to" in done.stderr


def test_an_interrupt_writes_nothing(tmp_path, monkeypatch):
    def stop(self, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr("spec.cli.Ticker.__call__", stop)
    done = export("--to", "tla", str(tmp_path))
    assert done.exit_code == 2
    assert "the exploration was interrupted" in done.stderr
    assert not list(tmp_path.iterdir())
