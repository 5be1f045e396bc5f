"""The running kernel against the models, and the comparison against wrong models.

What needs the kernel is skipped, with one line that says why, where it cannot be
observed; the rest judges made-up observations and runs everywhere.
"""

import json
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spec.decisions import Foll, Model
from spec.kernel import commands
from spec.kernel.compare import FINAL, Candidate, compare, judge, start
from spec.kernel.observe import Kernel, Observation, Run
from spec.kernel.options import default_model
from spec.kernel.pagemap import availability, not_visible
from spec.kernel.programs import BY, NotExpressible, program
from spec.litmus.parser import parse
from spec.litmus.program import Test
from spec.memory import Mm, Page, Pte
from spec.models import MODELS, Upstream

UPSTREAM = MODELS["upstream"]
LEAK = """
A: write 1
A: fork B
B: gup r = ro get
B: munmap
A: write 2
"""
PIN_AND_FORK = """
A: write 1
A: gup r = rw pin
A: fork B
r: write 2
x = A: read
y = B: read
"""
CHILD_EXITS = """
A: write 1
A: fork B
B: exit
A: write 2
"""


def litmus(text: str) -> Test:
    return parse(f"litmus test\n{text.strip()}\n")


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    if reason := availability() or not_visible():
        pytest.skip(reason)
    with Kernel() as running:
        yield running


# -- the matching, without a kernel ---------------------------------------------------


def runs(test: Test, model: Model) -> list[Run]:
    """What a kernel that is `model` could show: every outcome."""
    found: list[tuple[Candidate, tuple[Observation, ...]]] = [(start(test, model), ())]
    for operation in test.operations:
        found = [
            (after, (*seen, observation))
            for candidate, seen in found
            for after, observation in candidate.after(operation)
        ]
    return [Run(seen, candidate.final_values()) for candidate, seen in found]


def changed(run: Run, line: int, **change: Any) -> Run:
    """The same, but for the first process that maps a page after `line` (from 0)."""
    shown = run.lines[line]
    at, mapped = shown.mapped[0]
    mapped = replace(mapped, **change)
    other = replace(shown, mapped=((at, mapped), *shown.mapped[1:]))
    return replace(run, lines=(*run.lines[:line], other, *run.lines[line + 1 :]))


@pytest.mark.parametrize("text", [LEAK, PIN_AND_FORK, CHILD_EXITS])
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_a_model_agrees_with_itself(model: Model, text: str) -> None:
    test = litmus(text)
    for run in runs(test, model):
        assert judge(test, model, run) is None


def test_reuse_and_copy_of_a_sole_owner_are_both_accepted() -> None:
    found = runs(litmus(CHILD_EXITS), UPSTREAM)
    assert sorted(run.lines[-1].mapped[0][1].page for run in found) == [1, 2]


def test_the_outcome_that_was_seen_is_followed() -> None:
    """After a reuse, no model state in which the page was copied may be left."""
    test = litmus(CHILD_EXITS + "A: fork C\n")
    copied, reused = sorted(
        runs(test, UPSTREAM), key=lambda run: -run.lines[-2].mapped[0][1].page
    )
    mixed = replace(reused, lines=(*reused.lines[:-1], copied.lines[-1]))
    difference = judge(test, UPSTREAM, mixed)
    assert difference is not None
    assert difference.operation == "A: fork C"


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (0, {"exclusive": False}),
        (1, {"exclusive": True}),
        (1, {"mapcount": 1}),
        (1, {"page": 2}),
        (4, {"page": 1}),
        (0, {"kind": "zero", "page": 0, "exclusive": False, "mapcount": 0}),
        (2, {"kind": "swap", "page": 0, "exclusive": False, "mapcount": 0}),
    ],
)
def test_what_the_model_does_not_allow_is_named(
    line: int, change: dict[str, Any]
) -> None:
    test = litmus(LEAK)
    [run] = runs(test, UPSTREAM)
    difference = judge(test, UPSTREAM, changed(run, line, **change))
    assert difference is not None
    assert difference.line == line + 2
    assert difference.operation == str(test.operations[line])
    assert difference.shown.startswith("A: ")
    assert difference.shown not in difference.allowed


def test_values_of_reads_references_and_the_end_are_compared() -> None:
    test = litmus(PIN_AND_FORK)
    [run] = runs(test, UPSTREAM)
    assert run.lines[4].answer == 2

    wrong_read = replace(run.lines[4], answer=1)
    lines = (*run.lines[:4], wrong_read, *run.lines[5:])
    difference = judge(test, UPSTREAM, replace(run, lines=lines))
    assert difference is not None
    assert difference.operation == "x = A: read"
    assert difference.shown == "the call: reads 1"
    assert difference.allowed == ("the call: reads 2",)

    name, held = run.lines[3].held[0]
    stale = replace(run.lines[3], held=((name, replace(held, value=1)),))
    lines = (*run.lines[:3], stale, *run.lines[4:])
    difference = judge(test, UPSTREAM, replace(run, lines=lines))
    assert difference is not None
    assert difference.operation == "r: write 2"

    final = tuple((at, 7) for at, _ in run.final)
    difference = judge(test, UPSTREAM, replace(run, final=final))
    assert difference is not None
    assert (difference.line, difference.operation) == (0, FINAL)


def test_a_failed_call_is_compared() -> None:
    test = litmus("A: mprotect r\nA: write 1")
    [run] = runs(test, UPSTREAM)
    assert [shown.failed for shown in run.lines] == [False, True]
    works = replace(run.lines[1], failed=False)
    difference = judge(test, UPSTREAM, replace(run, lines=(run.lines[0], works)))
    assert difference is not None
    assert difference.allowed == ("the call: fails",)


def test_a_zeropage_may_be_left_out_by_fork() -> None:
    """``vma_needs_copy``: where no anonymous page ever was, fork copies no PTE."""
    test = litmus("A: read\nA: fork B")
    kinds = {run.lines[1].mapped[1][1].kind for run in runs(test, UPSTREAM)}
    assert kinds == {"zero", "none"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A: read || A: fork B", "line 2 is a race"),
        ("A: gup r = ro pin fast-only", "GUP-fast"),
        ("A: gup r = ro pin longterm", "FOLL_LONGTERM"),
        ("A: gup r = rw get\nA: fork B\nA: exit", "line 4: A does not exit before"),
        ("A: gup r = rw get\nA: fork B\nr: write 2\nA: write 3", "line 5: .* lets go"),
        ("A: gup r = rw get\nA: fork B\nx = r: read", "line 4: .* not seen before"),
        ("A: fork B\nA: gup r = ro pin\nA: exit", "past exit"),
        ("A: write 256", "256 is not a byte"),
    ],
)
def test_why_a_test_is_not_expressible(text: str, reason: str) -> None:
    with pytest.raises(NotExpressible, match=reason):
        program(litmus(text))


@pytest.mark.parametrize(
    ("system", "machine", "reason"),
    [
        ("Darwin", "x86_64", "this is Darwin"),
        ("Linux", "s390x", "this is s390x"),
    ],
)
def test_why_a_machine_is_not_available(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, reason: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    found = availability()
    assert found is not None
    assert reason in found
    assert "\n" not in found


def test_tables_are_at_most_72_wide_and_complete() -> None:
    test = litmus(
        "A: write 1\nA: write 2 at y\nA: gup r = ro get at y\nA: gup s = rw pin\n"
        "A: fork B\nA: fork C\nA: fork D\nlong = D: read at y"
    )
    run = runs(test, UPSTREAM)[0]
    text = commands.table(test, run)
    assert max(map(len, text.splitlines())) <= commands.WIDTH
    for heading in ("A at y", "D at y", "r", "s"):
        assert sum(heading in row.split("  ") for row in _cells(text)) == 1
    assert "reads 2" in text


def _cells(text: str) -> list[str]:
    """The heading rows of a table, cells two blanks apart."""
    blocks = [block.splitlines()[0] for block in text.split("\n\n")]
    return ["  ".join(c.strip() for c in b.split("  ") if c.strip()) for b in blocks]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["compare", "no-such-test"], "is called 'no-such-test'; the nearest is"),
        (["compare", "--model", "upsteam"], "nearest is 'upstream'"),
        (["observe", "no-such-test"], "is called 'no-such-test'; the nearest is"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(commands.kernel, arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_a_kernel_that_cannot_be_observed_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    file = write(tmp_path, LEAK)
    result = CliRunner().invoke(commands.kernel, ["compare", str(file)])
    assert result.exit_code == 2
    assert "this is Darwin" in result.output


@pytest.mark.parametrize(
    ("release", "model"),
    [("5.10.0-32-amd64", "linux-5.10"), ("5.19.0", "upstream"), ("7.2", "upstream")],
)
def test_a_kernel_is_compared_with_what_it_should_be(
    monkeypatch: pytest.MonkeyPatch, release: str, model: str
) -> None:
    monkeypatch.setattr(platform, "release", lambda: release)
    assert default_model() == model


def write(folder: Path, text: str) -> Path:
    file = folder / "test.litmus"
    file.write_text(f"litmus test\n{text.strip()}\n")
    return file


# -- the kernel -----------------------------------------------------------------------


@pytest.mark.parametrize("test", commands.load(()), ids=lambda test: test.name)
def test_catalogue(kernel: Kernel, test: Test) -> None:
    found = compare(test, UPSTREAM, kernel)
    if found.verdict == "not expressible":
        pytest.skip(found.why)
    assert found.verdict == "agrees", found.why


# -- wrong models ---------------------------------------------------------------------


class SharesPinnedPages(Upstream):
    def may_share(self, mm: Mm, page: Page) -> bool:
        return True


class CopiesReferencedPages(Upstream):
    def may_share(self, mm: Mm, page: Page) -> bool:
        return not page.anon_exclusive or page.refcount == 1


class NeverUnshares(Upstream):
    def may_return(self, foll: Foll, pte: Pte, page: Page) -> bool:
        return True


class UnsharesZeropage(Upstream):
    def unshares_zeropage(self, foll: Foll) -> bool:
        return foll.pin


class ReusesByMapcount(Upstream):
    def may_reuse(self, mm: Mm, page: Page) -> bool:
        return page.mapcount == 1


class NeverReuses(Upstream):
    def may_reuse(self, mm: Mm, page: Page) -> bool:
        return False


class UpgradesAlways(Upstream):
    def may_upgrade(self, page: Page) -> bool:
        return True


class ChildStartsClear(Upstream):
    def child_starts_exclusive(self) -> bool:
        return False


WRITE_PIN = "A: write 1\nA: gup r = rw pin\n"
WRITE_FORK = "A: write 1\nA: fork B\n"


@pytest.mark.parametrize(
    ("model", "text", "line"),
    [
        (SharesPinnedPages(), WRITE_PIN + "A: fork B", "A: fork B"),
        (ChildStartsClear(), WRITE_PIN + "A: fork B", "A: fork B"),
        (
            CopiesReferencedPages(),
            "A: write 1\nA: gup r = ro get\nA: fork B",
            "A: fork B",
        ),
        (NeverUnshares(), WRITE_FORK + "A: gup r = ro pin", "A: gup r = ro pin"),
        (UnsharesZeropage(), "A: gup r = ro pin", "A: gup r = ro pin"),
        (ReusesByMapcount(), LEAK, "A: write 2"),
        (NeverReuses(), CHILD_EXITS, "A: write 2"),
        (UpgradesAlways(), WRITE_FORK + "A: mprotect rw\nA: write 2", "A: write 2"),
        (MODELS["mapcount"], LEAK, "A: write 2"),
        (MODELS["mapcount"], WRITE_PIN + "A: fork B", "A: fork B"),
        (
            MODELS["page_count"],
            WRITE_PIN + "A: mprotect r\nA: mprotect rw\nA: write 2",
            "A: write 2",
        ),
        (
            MODELS["page_count"],
            WRITE_FORK + "A: gup r = ro pin",
            "A: gup r = ro pin",
        ),
        (MODELS["always"], WRITE_FORK + "A: gup r = ro get", "A: gup r = ro get"),
        (MODELS["sketch"], "A: write 1", "A: write 1"),
    ],
    ids=lambda value: getattr(value, "name", None) and type(value).__name__,
)
def test_a_wrong_model_is_caught(
    kernel: Kernel, model: Model, text: str, line: str
) -> None:
    """The same test agrees with upstream: it is the model that is caught."""
    assert compare(litmus(text), UPSTREAM, kernel).verdict == "agrees"
    found = compare(litmus(text), model, kernel)
    assert found.difference is not None
    assert found.difference.operation == line


# -- other ways ---------------------------------------------------------------------

BRIEF = """
A: write 1
A: fork B
A: gup r = ro get
r: put
A: gup s = ro pin
s: put
A: fork C
A: gup t = rw pin
t: write 7
t: put
C: mprotect r
C: force-write 9
"""


@pytest.mark.parametrize("by", BY)
def test_what_other_system_calls_do_is_the_same(kernel: Kernel, by: str) -> None:
    """And they are really made: the lines that one call carries out are not seen."""
    test = litmus(BRIEF)
    found = compare(test, UPSTREAM, kernel, (by,))
    if found.verdict == "not expressible":
        pytest.skip(found.why)
    assert found.verdict == "agrees", found.why
    ways = [call for call in program(test, (by,))["calls"] if call not in PLAIN]
    assert ways, f"{by} carries out nothing"


PLAIN = program(litmus(BRIEF))["calls"]


@pytest.mark.parametrize(
    "text", [PIN_AND_FORK, LEAK, "A: write 1\nA: munmap\nA: fork B\nx = B: read"]
)
def test_without_privileges_values_are_compared(text: str) -> None:
    test = litmus(text)
    with Kernel("--values-only") as unprivileged:
        run = unprivileged.observe(test)
    assert run.values_only
    assert {shown.page for line in run.lines if line for _, shown in line.mapped} == {0}
    assert judge(test, UPSTREAM, run) is None


def test_without_privileges_a_wrong_value_is_still_seen() -> None:
    with Kernel("--values-only") as unprivileged:
        found = compare(litmus(LEAK), MODELS["mapcount"], unprivileged)
    assert found.difference is not None
    assert found.difference.shown == "r: something = 1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A: write 1\nA: fork B\nA: reclaim", "MADV_PAGEOUT leaves alone"),
        ("A: write 1\nA: fork B\nB: write 1\nksm A B", "only with --own-machine"),
        ("A: write 1\nA: fork B\nswapoff", "none is|only with --own-machine"),
        ("A: numa-hint", "only the kernel places NUMA hints"),
    ],
)
def test_the_machine_is_not_changed(kernel: Kernel, text: str, reason: str) -> None:
    with pytest.raises(NotExpressible, match=reason):
        kernel.observe(litmus(text))


# -- the driver -----------------------------------------------------------------------


def belongings(kernel: Kernel) -> tuple[int, str]:
    """Open files and children of the driver."""
    proc = Path(f"/proc/{kernel.driver.pid}")
    children = (proc / f"task/{kernel.driver.pid}/children").read_text()
    return len(list((proc / "fd").iterdir())), children


def test_the_driver_keeps_nothing(kernel: Kernel) -> None:
    kernel.observe(litmus("A: fork B"))
    before = belongings(kernel)
    assert before[1] == ""
    kernel.observe(litmus(LEAK + "A: fork C\nC: gup s = ro pin\nA: gup t = rw pin"))
    assert belongings(kernel) == before


def test_an_error_in_a_worker_is_one_sentence_and_leaves_nothing(
    kernel: Kernel,
) -> None:
    before = belongings(kernel)
    calls = program(litmus(PIN_AND_FORK))["calls"]
    calls[4] = {"actor": "A", "word": "no_such_call", "address": "x"}
    answer = kernel.ask({**program(litmus(PIN_AND_FORK)), "calls": calls})
    assert answer == {"error": "A ended during no_such_call"}
    assert belongings(kernel) == before
    assert compare(litmus(PIN_AND_FORK), UPSTREAM, kernel).verdict == "agrees"


def test_gup_of_what_is_not_mapped_gives_no_reference(kernel: Kernel) -> None:
    run = kernel.observe(litmus("A: munmap\nA: gup r = ro pin\nA: gup s = rw pin"))
    assert [shown.failed for shown in run.lines] == [False, True, True]
    assert run.lines[-1].held == ()


# -- the command line -----------------------------------------------------------------


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(commands.kernel, [str(a) for a in arguments])


def test_observe(kernel: Kernel, tmp_path: Path) -> None:
    file = write(tmp_path, LEAK)
    result = invoke("observe", file)
    assert result.exit_code == 0
    assert "A: write 2         p2 E 1  -       p1 = 1" in result.output
    assert platform.release() in result.output

    found = json.loads(invoke("observe", file, "--json").output)
    assert found["machine"]["release"] == platform.release()
    last = found["tests"][0]["lines"][-1]
    assert last["operation"] == "A: write 2"
    assert last["mapped"]["A"] == {
        "kind": "page",
        "page": 2,
        "exclusive": True,
        "mapcount": 1,
        "huge": False,
    }
    assert last["held"]["r"]["value"] == 1
    assert found["tests"][0]["final"] == {"A": 2}


def test_compare_says_so_and_exits_accordingly(kernel: Kernel, tmp_path: Path) -> None:
    file = write(tmp_path, LEAK)
    result = invoke("compare", file)
    assert result.exit_code == 0
    assert "1 agrees" in result.output

    result = invoke("compare", file, "--model", "mapcount")
    assert result.exit_code == 1
    assert "line 6: A: write 2: shows" in result.output

    result = invoke("compare", file, "--model", "mapcount", "--json")
    assert result.exit_code == 1
    [verdict] = json.loads(result.output)["tests"]
    assert verdict["verdict"] == "differs"
    assert verdict["difference"]["line"] == 6


def test_nothing_compared_is_no_agreement(kernel: Kernel, tmp_path: Path) -> None:
    file = write(tmp_path, "A: write 1 || A: fork B")
    result = invoke("compare", file)
    assert result.exit_code == 2
    assert "not expressible" in result.output
    assert "nothing was compared" in result.output
