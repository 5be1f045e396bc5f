"""The reviewer's desk: help, man page, completion, the page of functions."""

from __future__ import annotations

import shutil
import subprocess

import click
import pytest
from click.testing import CliRunner

from spec.cli import main
from spec.desk import manual
from spec.desk.anchors import anchored
from spec.desk.exits import EXITS
from spec.desk.operations import OPERATIONS
from spec.publish.anchors import anchors_page
from spec.publish.pages import Site
from spec.publish.verdicts import Store
from spec.rules import load

RULES = load()


def call(*words: str, given: str | bytes = ""):
    return CliRunner().invoke(main, list(words), input=given)


def commands(command: click.Command, words: tuple[str, ...] = ()):
    """Every command with its words, the program itself aside."""
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        yield (*words, name), found
        if isinstance(found, click.Group):
            yield from commands(found, (*words, name))


@pytest.mark.parametrize("words", [words for words, _ in commands(main)])
def test_each_command_says_its_exit_statuses(words):
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert "Exit status: 0 " in " ".join(result.output.split())


def test_the_table_of_exit_statuses_has_no_command_that_is_none():
    assert set(EXITS) <= {" ".join(words) for words, _ in commands(main)}


def test_the_man_page_has_each_command_option_and_exit_status():
    page = manual.page()
    assert page.isascii()
    plain = page.replace("\\-", "-").replace("\\&", "")
    for words, command in commands(main):
        assert f".SS {' '.join(words)}\n" in plain
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert max(parameter.opts, key=len) in plain
        assert " ".join(command.epilog.split()) in plain
    assert ".SH EXIT STATUS" in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_man_page_is_rendered_without_a_warning():
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-cbou"],
        input=manual.page(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in done.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("anon-exclusive rev", "review"),
        ("anon-exclusive cite AE-FORK-", "AE-FORK-2"),
        ("anon-exclusive kernel-anchors list ae-fast", "AE-FAST-3"),
        ("anon-exclusive check --model up", "upstream"),
        ("anon-exclusive check --kernel 5.1", "5.11"),
        ("anon-exclusive review --t", "--tree"),
    ],
)
def test_the_shell_completes_commands_options_models_and_rules(line, offered):
    words = line.split()
    given = {
        "_ANON_EXCLUSIVE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner(env=given).invoke(main, [], prog_name="anon-exclusive")
    assert offered in [found.partition(",")[2] for found in result.output.splitlines()]


def test_the_page_of_kernel_functions_has_each_rule_and_operation():
    page = anchors_page(Site(Store()))
    assert all(f"[{id}](" in page for id, rule in RULES.items() if anchored(rule))
    assert all(f"`{operation}`" in page for operation in OPERATIONS)
    assert "<code" in page
    assert "copy_present_ptes</code>, 6.9.." in page
