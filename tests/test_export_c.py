"""Litmus tests as C programs: they compile without a warning, and judge this kernel."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from spec.cells import SpecificationError
from spec.cli import main
from spec.export.c import c_program
from spec.kernel.abilities import has_swap, release
from spec.kernel.race import COMPILE, build
from spec.litmus.files import catalogue, find
from spec.litmus.parser import parse
from spec.litmus.run import run
from spec.models import MODELS

UPSTREAM = MODELS["upstream"]
PASS, FAIL, SKIP = 0, 1, 4
RUNS = 3
"""Each run begins afresh, so a program that keeps anything fails the second time."""


def carried_out(text: str, folder: Path, *options: str) -> tuple[int, str]:
    """Exit status and output; a warning of the compiler is an error."""
    if shutil.which(COMPILE[0]) is None:
        pytest.skip(f"{COMPILE[0]} is not installed")
    program = build(text, folder, "-Wextra", "-Werror", *options)
    command = [program, str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_each_test_of_the_catalogue_is_a_program_or_says_why_not() -> None:
    refused = {}
    for name in catalogue():
        try:
            text = c_program(find(name))
        except SpecificationError as why:
            refused[name] = str(why)
        else:
            assert f" *     litmus {name}\n" in text
            assert text.count("static int holds_") == len(find(name).conditions)
    assert all("cannot be a C program: " in why for why in refused.values())
    assert len(refused) < len(catalogue()) // 2


@pytest.mark.parametrize(
    "name",
    [
        "vmsplice-leak",  # a pipe
        "pin-fork",  # a ring
        "get-fork",  # what upstream does not promise
        "force-write-shared",  # /proc/self/mem
        "mremap-pin",
        "thp-pin-fork",  # a huge page
        "selftest-zeropage-cow",
    ],
)
def test_this_kernel_is_judged_as_the_model_is(name: str, tmp_path: Path) -> None:
    if release() < (5, 19):
        pytest.skip(f"Linux {release()} is not upstream as it is now")
    test = find(name)
    status, said = carried_out(c_program(test), tmp_path)
    if status == SKIP:
        pytest.skip(said)
    outcomes = run(test, UPSTREAM).outcomes
    wrong = any(outcome.failed for outcome in outcomes)
    assert status == (FAIL if wrong else PASS), said
    assert said.startswith(f"TAP version 13\n1..{len(test.conditions)}\n")
    results = re.findall(r"^(?:not )?ok (\d+) ", said, re.M)
    assert results == [str(i + 1) for i in range(len(test.conditions))]


HELD = """
litmus held
# process_vm_readv() pins a page over a fork; another pin is put at once.
A: write 1
A: gup r = ro pin
A: fork B
A: write 2
A: gup s = ro pin
s: put
x = A: read
require r == 2 and s == 2 and x == 2 and not void(r)
require same(A, r)
require exclusive(B)
"""


def test_a_pin_is_held_and_pages_are_looked_at(tmp_path: Path) -> None:
    status, said = carried_out(c_program(parse(HELD)), tmp_path)
    if status == SKIP:
        pytest.skip(said)
    assert status == PASS, said
    assert "r = 2, s = 2" in said


def test_a_bug_is_shown(tmp_path: Path) -> None:
    """The same program with the opposite condition."""
    wrong = HELD.replace("require r == 2", "require r != 2")
    status, said = carried_out(c_program(parse(wrong)), tmp_path)
    if status == SKIP:
        pytest.skip(said)
    assert status == FAIL
    assert "not ok 1 require r != 2 and s == 2" in said
    assert "\nok 2 " in said


def test_an_address_that_is_gone_reads_nothing(tmp_path: Path) -> None:
    text = "litmus t\nA: write 1\nA: munmap\nx = A: read\nA: fork B\nforbid x == 1\n"
    status, said = carried_out(c_program(parse(text)), tmp_path)
    assert (status, "x = none" in said) == (PASS, True), said


def test_several_cpus_may_do_the_same(tmp_path: Path) -> None:
    text = "litmus t\nA: write 1\nA: read || A: read || A: write 2\nx = A: read\n"
    status, said = carried_out(c_program(parse(f"{text}require x == 2\n")), tmp_path)
    assert status == PASS, said
    assert "x = 2" in said


def test_what_the_machine_has_not_is_skipped(tmp_path: Path) -> None:
    if has_swap():
        pytest.skip("this machine has swap")
    status, said = carried_out(c_program(find("swap-entry-leak")), tmp_path)
    assert status == SKIP
    assert "1..0 # SKIP no swap is on" in said


def test_what_user_space_cannot_see_is_skipped(tmp_path: Path) -> None:
    text = "litmus t\nA: write 1\nA: fork B\nA: write 2\nrequire copies == 1\n"
    status, said = carried_out(c_program(parse(text)), tmp_path)
    assert status == SKIP
    assert "ok 1 require copies == 1 # SKIP" in said


def test_a_static_program_needs_no_library(tmp_path: Path) -> None:
    status, said = carried_out(c_program(find("vmsplice-leak")), tmp_path, "-static")
    assert status == PASS, said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A: write 1", "has no condition for its program to judge"),
        ("A: gup r = ro pin fast-only\nforbid r == 1", "no system call stops at"),
        ("A: gup r = ro pin longterm\nforbid r == 1", "R/O FOLL_LONGTERM"),
        ("A: gup r = rw get\nA: fork B\nforbid r == 1", "'r: put' must be the next"),
        ("A: gup r = rw get\nr: put\nforbid r == 1", "what it would read"),
        ("A: write 256\nx = A: read\nforbid x == 1", "256 is not a byte"),
        ("A: numa-hint\nx = A: read\nforbid x == 1", "no C for 'numa-hint'"),
        ("A: mprotect r\nA: split-pmd\nx = A: read\nforbid x == 1", "R/W again"),
    ],
)
def test_what_no_program_does_is_one_sentence(
    text: str, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "t.litmus"
    file.write_text(f"litmus t\n{text}\n")
    result = CliRunner().invoke(main, ["export", "--to", "c", str(file)])
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_the_command_prints_the_program() -> None:
    result = CliRunner().invoke(main, ["export", "--to", "c", "vmsplice-leak"])
    assert result.exit_code == 0
    assert result.output == c_program(find("vmsplice-leak"))
    wrong = ["export", "--to", "c", "--model", "sketch", "vmsplice-leak"]
    result = CliRunner().invoke(main, wrong)
    assert result.exit_code == 2
    assert "the same for every model" in result.output
