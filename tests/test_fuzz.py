"""Differential runs: random programs on the running kernel and on models."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spec.kernel.abilities import release
from spec.kernel.commands import kernel as command
from spec.kernel.compare import Comparison, Difference, compare
from spec.kernel.fuzz import Report, fuzz
from spec.kernel.generate import ADDRESSES, ALWAYS, Step, text_of, words
from spec.kernel.known import KNOWN, Known, known
from spec.kernel.observe import Kernel
from spec.kernel.pagemap import availability, not_visible
from spec.kernel.programs import program
from spec.litmus.parser import parse
from spec.models import MODELS

UPSTREAM = MODELS["upstream"]
PROGRAMS = 300


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    if reason := availability() or not_visible():
        pytest.skip(reason)
    with Kernel() as running:
        yield running


@pytest.fixture(scope="module")
def report(kernel: Kernel) -> Report:
    return fuzz(UPSTREAM, kernel, most=PROGRAMS, seconds=None, seed=7)


def test_random_programs_agree(report: Report) -> None:
    assert report.found is None, f"{report.found.program}\n{report.found.comparison}"
    skipped = sum(report.not_expressible.values())
    assert report.programs + skipped == PROGRAMS
    assert skipped < PROGRAMS // 20, report.not_expressible


def test_every_operation_is_exercised(report: Report) -> None:
    wanted = {word.removeprefix("brief ") for word in ALWAYS}
    assert wanted <= report.operations.keys()
    calls = {"vmsplice", "io_uring_register", "futex", "process_vm_readv"}
    calls |= {"process_vm_writev", "ptrace peek", "ptrace poke", "read memory file"}
    assert calls <= report.calls.keys()


def test_the_same_seed_gives_the_same_programs(kernel: Kernel) -> None:
    runs = [fuzz(UPSTREAM, kernel, most=30, seconds=None, seed=3) for _ in range(2)]
    assert runs[0].operations == runs[1].operations
    other = fuzz(UPSTREAM, kernel, most=30, seconds=None, seed=4)
    assert other.operations != runs[0].operations


def test_an_interrupt_keeps_what_was_found(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a disagreement is being shrunk: it is shown as it was generated."""
    shown = []

    def interrupted(*_: object, **by: object) -> Comparison:
        if shown:
            raise KeyboardInterrupt
        shown.append(1)
        difference = Difference(2, "A: read", "r: 1", ("r: 2",))
        return Comparison("random", "differs", "why", difference)

    monkeypatch.setattr("spec.kernel.fuzz.compare", interrupted)
    report = fuzz(UPSTREAM, kernel, most=30, seconds=None, seed=3)
    assert report.interrupted
    assert report.found is not None
    assert not report.found.repeats


@pytest.mark.parametrize(
    "rule", ["AE-COW-1", pytest.param("AE-UNS-1", marks=pytest.mark.slow)]
)
def test_a_model_without_a_rule_is_caught_and_shrunk(kernel: Kernel, rule: str) -> None:
    """By a program that agrees with the rule: it is the rule that is missed."""
    removed = frozenset({rule})
    found = fuzz(UPSTREAM, kernel, without=removed, most=3000, seconds=60, seed=1).found
    assert found is not None
    assert found.repeats
    assert len(found.program.test().operations) <= 5
    test, by = found.program.test(), found.program.by
    assert compare(test, UPSTREAM, kernel, by).verdict == "agrees"


@pytest.mark.parametrize("each", KNOWN, ids=lambda each: each.why)
def test_a_known_difference_is_still_there(kernel: Kernel, each: Known) -> None:
    if each.until is not None and release() >= each.until:
        pytest.skip(f"Linux {each.until[0]}.{each.until[1]} has it no more")
    test = parse(f"litmus known\n{each.example}\n")
    found = compare(test, UPSTREAM, kernel)
    if found.verdict == "not expressible":
        pytest.skip(found.why)
    assert known(test, found) == each, found


def test_another_difference_is_not_taken_for_a_known_one(kernel: Kernel) -> None:
    test = parse("litmus t\nA: write 1\nA: fork B\nA: gup r = ro pin\n")
    found = compare(test, UPSTREAM, kernel, without=frozenset({"AE-UNS-1"}))
    assert found.verdict == "differs"
    assert known(test, found) is None


def test_every_list_of_steps_is_a_program() -> None:
    for word in words(huge=True) + words():
        for number in range(4):
            steps = [Step("fork"), Step(word, number, ADDRESSES[1]), Step(word, number)]
            program(parse(text_of(steps)))


def test_without_hypothesis_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.setattr("spec.kernel.fuzzing.find_spec", lambda name: None)
    result = CliRunner().invoke(command, ["fuzz"])
    assert result.exit_code == 2
    assert "pip install hypothesis" in result.output
    assert "Traceback" not in result.output


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(command, ["fuzz", *map(str, arguments)])


def test_the_command_shows_coverage_and_writes_what_disagrees(
    kernel: Kernel, tmp_path: Path
) -> None:
    good = invoke("--programs", 30, "--seed", 1)
    assert good.exit_code == 0
    assert "Kernel and model agree." in good.output
    assert "gup" not in good.output.partition("Operations")[0]

    file = tmp_path / "shortest.litmus"
    bad = invoke("--seed", 1, "--without", "AE-FORK-3", "--write", file)
    assert bad.exit_code == 1
    assert "DISAGREE" in bad.output
    assert file.read_text() in bad.output
    found = compare(parse(file.read_text()), UPSTREAM, kernel)
    assert found.verdict == "agrees"

    as_json = invoke("--programs", 30, "--seed", 1, "--json")
    assert json.loads(as_json.output)["disagreement"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--without", "AE-INV-1"], "AE-INV-1 is no rule that operations obey"),
        (["--programs", "0"], "0 is not in the range"),
        (["--model", "upsteam"], "nearest is 'upstream'"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: list[str], sentence: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
