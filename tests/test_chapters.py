"""Chapters: when they run again, and what is said when they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spec.publish import chapters

PROSE = "# %% [markdown]\n# # A title\n#\n# Some words.\n\n"
CODE = "# %%\nfrom spec import b\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own with two chapters and a litmus test."""
    for name in ("spec", "requirements", "notebooks"):
        (tmp_path / name).mkdir()
    (tmp_path / "spec" / "__init__.py").write_text("")
    (tmp_path / "spec" / "a.py").write_text(f"{PROSE}{CODE}")
    (tmp_path / "spec" / "b.py").write_text(f"{PROSE}# %%\nvalue = 1\n")
    (tmp_path / "spec" / "t.litmus").write_text("litmus t\n")
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "CACHE", tmp_path / "executed")
    return tmp_path


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    stat = path.stat()  # two changes may come within one tick of the clock
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


@pytest.mark.parametrize(
    ("changed", "old", "new", "again"),
    [
        ("spec/a.py", "Some words", "Other words", True),  # the page shows them
        ("spec/a.py", "import b", "import b, c", True),
        ("spec/b.py", "Some words", "Other words", False),  # no cell can see them
        ("spec/b.py", "value = 1", "value = 2", True),
        ("spec/b.py", "value = 1", "value = 1  # a comment", True),
        ("spec/t.litmus", "litmus t", "litmus u", True),
    ],
)
def test_a_chapter_runs_again_when_what_it_sees_has_changed(
    project: Path, changed: str, old: str, new: str, again: bool
) -> None:
    before = chapters.cached(project / "spec" / "a.py")
    rewrite(project / changed, old, new)
    assert (chapters.cached(project / "spec" / "a.py") != before) == again


def test_prose_counts_where_lines_of_other_chapters_are_shown(project: Path) -> None:
    with (project / "spec" / "a.py").open("a") as file:
        file.write('# %% tags=["raises-exception"]\nb.f()\n')
    before = chapters.cached(project / "spec" / "a.py")
    rewrite(project / "spec" / "b.py", "Some words", "Other words")
    assert chapters.cached(project / "spec" / "a.py") != before


def run(path: Path, source: str) -> Any:
    """Execute a notebook with one cell, beside the real package."""
    path.write_text(f"# %%\n{source}\n")
    return chapters._run([path])[path]


@pytest.fixture
def notebook() -> Iterator[Path]:
    path = chapters.ROOT / "notebooks" / f"scratch-{os.getpid()}.py"
    yield path
    path.unlink()


def test_a_failing_cell_is_told(notebook: Path) -> None:
    executed = run(notebook, "print('before')\n1 / 0")
    assert chapters.failures(executed) == [(0, "ZeroDivisionError: division by zero")]


def test_a_chapter_that_ends_its_process_is_told(notebook: Path) -> None:
    source = "import os, sys\nos.write(2, b'last words')\nos._exit(3)"
    with pytest.raises(chapters.ChapterError, match=r"\(3\)\nlast words"):
        run(notebook, source)


def test_a_chapter_that_does_not_end_is_told(notebook: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(chapters, "_SECONDS", 1)
    with pytest.raises(chapters.ChapterError, match="did not end in 1 s"):
        run(notebook, "while True: pass")
