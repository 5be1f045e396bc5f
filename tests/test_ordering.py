"""The export of the chapter `ordering` for the kernel's own memory model."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from spec.cli import main
from spec.lkmm import litmus_tests

# What store buffering and message passing come to under the kernel's memory model;
# reclaim installs an entry, so no ABA: the barriers around the bit are not needed.
NEVER = {
    "gup_fast+ksm",
    "gup_fast+reclaim",
    "gup_fast+reclaim+without-AE-ORD-2",
    "gup_fast+reclaim+without-AE-ORD-4",
    "gup_fast+reclaim+without-AE-ORD-5",
}


@pytest.fixture(scope="module")
def tests() -> dict[str, str]:
    return litmus_tests()


def test_results_are_those_of_the_memory_model(tests: dict[str, str]) -> None:
    never = {name for name, text in tests.items() if "Result: Never" in text}
    sometimes = {name for name, text in tests.items() if "Result: Sometimes" in text}
    assert never == {f"{name}.litmus" for name in NEVER}
    assert never | sometimes == set(tests)
    assert len(tests) == 14


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("AE-ORD-1", "\tsmp_mb();"),
        ("AE-ORD-2", "smp_wmb();"),
        ("AE-ORD-3", "smp_mb__after_atomic();"),
        ("AE-ORD-4", "smp_rmb();"),
    ],
)
def test_a_twin_lacks_its_barrier(
    tests: dict[str, str], rule: str, statement: str
) -> None:
    whole = tests["gup_fast+ksm.litmus"]
    twin = tests[f"gup_fast+ksm+without-{rule}.litmus"]
    assert whole.count(statement) == 1
    assert statement not in twin


@pytest.mark.parametrize(
    ("rule", "steps"), [("AE-ORD-5", "B5 B3"), ("AE-ORD-6", "A2 A1")]
)
def test_a_twin_has_its_steps_the_other_way(
    tests: dict[str, str], rule: str, steps: str
) -> None:
    first, second = steps.split()
    twin = tests[f"gup_fast+ksm+without-{rule}.litmus"]
    whole = tests["gup_fast+ksm.litmus"]
    assert twin.index(f"// {first}") < twin.index(f"// {second}")
    assert whole.index(f"// {first}") > whole.index(f"// {second}")


def test_braces_are_closed(tests: dict[str, str]) -> None:
    for text in tests.values():
        assert text.count("{") == text.count("}")
        assert text.startswith("C gup_fast+")
        assert text.splitlines()[-1].startswith("exists (")


def test_command_writes_all(
    tmp_path: Path, tests: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spec.lkmm.litmus_tests", lambda: tests)
    folder = tmp_path / "lkmm"
    done = CliRunner().invoke(main, ["export", "--to", "lkmm", str(folder)])
    assert done.exit_code == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == tests


def test_a_folder_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "lkmm"
    done = CliRunner().invoke(main, ["export", "--to", "lkmm", str(folder)])
    assert done.exit_code == 2
    assert "Error: cannot write to" in done.output
    assert "Traceback" not in done.output
