"""Races on the running kernel, and the comparison against made-up outcomes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spec.kernel import race, races
from spec.kernel.commands import kernel as command
from spec.kernel.observe import KernelError, Machine
from spec.kernel.programs import NotExpressible
from spec.kernel.race import Race, allowed, outcomes
from spec.litmus.files import find
from spec.litmus.parser import parse
from spec.models import MODELS
from spec.publish import races as page
from spec.releases import find_model

UPSTREAM = MODELS["upstream"]
THREADS = "litmus t\nA: write 1\nA: write 2 || A: write 3\nx = A: read\nforbid x == 9\n"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(command, ["race", *map(str, arguments)])


# -- without a kernel -----------------------------------------------------------------


def test_a_model_allows_every_order() -> None:
    assert allowed(parse(THREADS), UPSTREAM) == {(2,), (3,)}


def test_a_wrong_model_allows_something_else() -> None:
    """What the map count leaks would be seen as forbidden by upstream."""
    test = find("vmsplice-leak-exit")
    leaks = allowed(test, MODELS["mapcount"]) - allowed(test, UPSTREAM)
    assert leaks == {(2,)}


def test_what_is_not_allowed_is_forbidden_and_what_is_not_seen_is_listed() -> None:
    found = Race("t", "upstream", ("x",), {(3,): 5, (7,): 1}, frozenset({(2,), (3,)}))
    assert found.runs == 6
    assert found.forbidden == ((7,),)
    assert found.unseen == ((2,),)
    assert list(page.rows(found)) == [
        ("5", "`x = 3`", "yes"),
        ("1", "`x = 7`", "**no**"),
        ("0", "`x = 2`", "yes"),
    ]


def test_what_a_user_cannot_see_fits_either_way() -> None:
    names = ("r", "same(A, r)")
    known = frozenset({(2, True)})
    assert Race("t", "upstream", names, {(2, None): 1}, known).forbidden == ()
    assert Race("t", "upstream", names, {(None, None): 1}, known).forbidden
    assert Race("t", "upstream", names, {(2, 0): 1}, known).forbidden


def test_outcomes_are_read_from_what_a_program_says() -> None:
    said = "TAP version 13\n1..1\n# 3 runs\n#        1: x = none, same(A, r) = 1\n"
    said += "#        2: x = 12, same(A, r) = none\nok 1 require x == 1\n"
    assert outcomes(said, 0) == {(12, None): 2, (None, 1): 1}


@pytest.mark.parametrize(
    ("said", "status", "error", "reason"),
    [
        (
            "TAP version 13\n1..0 # SKIP no swap is on: x\n",
            4,
            NotExpressible,
            "no swap",
        ),
        ("TAP version 13\nBail out! a run did not\n", 1, KernelError, "Bail out!"),
        ("", -11, KernelError, "status -11"),
    ],
)
def test_a_program_that_did_not_run_is_no_outcome(
    said: str, status: int, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        outcomes(said, status)


def test_without_a_compiler_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spec.kernel.race.shutil.which", lambda name: None)
    result = invoke("cow-race", "--runs", 1)
    assert result.exit_code == 2
    assert "gcc is not installed" in result.output
    assert "Traceback" not in result.output


# -- the record -----------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    test = parse(THREADS)
    seen = {(3,): 5, (None,): 1}
    found = Race("t", "upstream", ("x",), seen, allowed(test, UPSTREAM))
    machine = Machine("6.18.0", "x86_64", "2026-11-25")
    path = races.write([(test, found)], machine, 6, tmp_path / "races.json")
    record = races.read(path)
    assert (record.machine, record.model) == (machine, "upstream")
    assert "--runs 6" in record.command
    assert record.races["t"].fits(test)
    assert record.races["t"].judged(test, UPSTREAM) == found
    assert not record.races["t"].fits(parse(THREADS.replace("write 3", "write 4")))


def test_what_was_recorded_is_still_allowed() -> None:
    """A change of the model shows at once where it leaves reality."""
    record = races.read()
    judged = {
        name: recorded.judged(find(name), find_model(record.model))
        for name, recorded in record.races.items()
        if recorded.fits(find(name))
    }
    assert len(judged) > 10
    assert {
        name: each.forbidden for name, each in judged.items() if each.forbidden
    } == {}
    both = judged["cow-race-threads"]
    assert both.unseen == (), "the race did not go both ways"


def test_the_page_shows_what_was_recorded() -> None:
    text = page.races_page()
    record = races.read()
    assert record.machine.release in text
    for name, recorded in record.races.items():
        if recorded.fits(find(name)):
            assert f"{{#{name}}}" in text
    assert "**no**" not in text


# -- the kernel -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiler() -> None:
    if shutil.which(race.COMPILE[0]) is None:
        pytest.skip(f"{race.COMPILE[0]} is not installed")


@pytest.mark.usefixtures("compiler")
def test_the_running_kernel_stays_within_what_is_allowed() -> None:
    result = invoke("fork-race-write", "cow-race-threads", "--runs", 200)
    assert result.exit_code == 0, result.output
    assert "fork-race-write  200 runs" in result.output
    assert "2 within what is allowed, 0 not, 0 not run" in result.output


@pytest.mark.usefixtures("compiler")
def test_a_race_that_a_model_does_not_allow_is_an_error(tmp_path: Path) -> None:
    """On page_count the reference is lost; a kernel that keeps it is at odds."""
    file = tmp_path / "t.litmus"
    file.write_text(
        "litmus t\nA: write 1\nA: gup r = rw pin\nA: mprotect r\nA: mprotect rw\n"
        "A: write 2 || A: read\nrequire r == 2\n"
    )
    result = invoke(file, "--model", "page_count", "--runs", 5)
    assert result.exit_code == 1, result.output
    assert "FORBIDDEN by page_count" in result.output
    assert invoke(file, "--runs", 5).exit_code == 0


@pytest.mark.usefixtures("compiler")
def test_nothing_run_is_no_agreement() -> None:
    result = invoke("fast-only", "--runs", 1)
    assert result.exit_code == 2
    assert "no system call stops at GUP-fast" in result.output
    assert "nothing was run" in result.output
