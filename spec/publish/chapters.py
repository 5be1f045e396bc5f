"""Chapters and notebooks: percent files that are executed once and cached.

Tests and site both ask here, so a cell runs once for the two of them. A cached result
is used again only while everything that a cell can see is unchanged (`cached`).
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "executed"
FOLDERS = ("spec", "notebooks")

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_CELL = re.compile(r"# %%", re.M)
_PROSE = re.compile(r"^# %% \[markdown\].*?(?=^# %%|\Z)", re.M | re.S)
_SHOWS_LINES = re.compile(rb"raises-exception|getsource|traceback")
_SEEN_BY_CELLS = (".py", ".lark", ".litmus", ".json")
_SECONDS = 900  # a chapter that takes longer is taken for one that never ends
_SURROUNDINGS = {  # what a cell puts out must not depend on who runs it
    "COLUMNS": "80",
    "JUPYTER_NO_CONFIG": "1",
    "NO_COLOR": "1",
    "PYTHONHASHSEED": "0",
}


class ChapterError(Exception):
    """A chapter that gave no result: its process ended early, or did not end."""


def is_chapter(path: Path) -> bool:
    """Whether `path` is a percent file right inside one of the chapters' folders."""
    return (
        path.suffix == ".py"
        and path.parent in [ROOT / folder for folder in FOLDERS]
        and _CELL.search(path.read_text(encoding="utf-8")) is not None
    )


def sources() -> list[Path]:
    """All chapters and notebooks, sorted by folder and name."""
    return [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).glob("*.py"))
        if is_chapter(path)
    ]


def module_name(path: Path) -> str | None:
    """The module that a chapter of the package is; None for a notebook.

    >>> module_name(ROOT / "spec" / "fork.py")
    'spec.fork'
    >>> module_name(ROOT / "notebooks" / "tour.py") is None
    True
    """
    return f"spec.{path.stem}" if path.parent == ROOT / "spec" else None


def root_spellings() -> list[str]:
    """The project's folder, as programs print it before a file's name."""
    home = Path.home()
    found = [f"{ROOT}/"]
    if ROOT.is_relative_to(home):
        found.append(f"~/{ROOT.relative_to(home)}/")
    return found


def without_colours(text: str) -> str:
    r"""The text without terminal colours.

    >>> without_colours("\x1b[31mred\x1b[0m")
    'red'
    """
    return _ANSI.sub("", text)


def read(path: Path) -> Any:
    """The chapter at `path` as a notebook that has not run."""
    notebook = jupytext.read(path, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def cell_lines(path: Path, notebook: Any) -> list[int]:
    """The line of `path` on which each cell of `notebook` begins."""
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines, 1) if _CELL.match(line)]
    if len(starts) < len(notebook.cells):  # the first cell may have no marker
        starts.insert(0, 1)
    return (starts + [len(lines)] * len(notebook.cells))[: len(notebook.cells)]


def without_prose(text: str) -> str:
    """A percent file without its Markdown cells.

    >>> without_prose("# %% [markdown]\\n# # Title\\n\\n# %%\\nx = 1\\n")
    '# %%\\nx = 1\\n'
    """
    return _PROSE.sub("", text)


@lru_cache(maxsize=8)
def _digest(stated: tuple[tuple[str, int, int], ...], with_prose: bool) -> str:
    """Changes with the files, which are named with the times of their last changes."""
    digest = hashlib.sha256(sys.version.encode())
    for file, _, _ in stated:
        content = Path(file).read_bytes()
        if file.endswith(".py") and not with_prose:
            content = without_prose(content.decode()).encode()
        digest.update(f"{os.path.relpath(file, ROOT)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _seen() -> list[str]:
    """The files of the package and the requirements; asked for often, so no paths."""
    package = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(ROOT / "spec")
        for name in names
        if name.endswith(_SEEN_BY_CELLS)
    ]
    return [*package, *map(str, (ROOT / "requirements").glob("*.txt"))]


def package_key(*besides: Path, with_prose: bool = False) -> str:
    """Changes with the package, the requirements, Python, and the files `besides`.

    Args:
        besides: files in this project.
        with_prose: whether the Markdown cells of chapters count, too.
    """
    stated = [
        (file, stat.st_mtime_ns, stat.st_size)
        for file in sorted({*_seen(), *map(str, besides)})
        for stat in [os.stat(file)]
    ]
    return _digest(tuple(stated), with_prose)


def _key(path: Path) -> str:
    """Changes with the notebook and with all that its cells can see."""
    content = path.read_bytes()
    # A traceback has lines of other chapters in it, and so has what reads sources.
    exact = _SHOWS_LINES.search(content) is not None
    package = package_key(with_prose=exact)
    return hashlib.sha256(package.encode() + content).hexdigest()[:24]


def cached(path: Path) -> Path:
    """Where the executed notebook of the chapter at `path`, as it is now, is kept.

    The name changes with the chapter, every module, grammar and litmus file of the
    package (the runner among them), the pinned requirements and Python. The prose of
    other chapters does not count: no cell can see it.
    """
    return CACHE / path.parent.name / f"{path.stem}.{_key(path)}.ipynb"


def _run(paths: Sequence[Path]) -> dict[Path, Any]:
    """Execute chapters, each in a new process; raises ChapterError for no result."""
    with tempfile.TemporaryDirectory() as scratch:
        targets = {path: f"{scratch}/{i}.ipynb" for i, path in enumerate(paths)}
        pairs = [str(word) for pair in targets.items() for word in pair]
        subprocess.run(
            [sys.executable, "-m", "spec.publish.runner", str(_SECONDS), *pairs],
            cwd=ROOT,
            env=os.environ | _SURROUNDINGS,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        return {path: _result(path, target) for path, target in targets.items()}


def _result(path: Path, target: str) -> Any:
    """The executed notebook in the file `target`; raises ChapterError for none."""
    if Path(target).exists():
        return nbformat.read(target, as_version=4)
    name, status = path.relative_to(ROOT), int(Path(f"{target}.status").read_text())
    if status == -signal.SIGALRM:
        raise ChapterError(f"{name} did not end in {_SECONDS} s")
    log = Path(f"{target}.log").read_text(encoding="utf-8", errors="replace")
    raise ChapterError(f"{name} ended its process ({status})\n{log}")


def _store(path: Path, notebook: Any) -> None:
    target = cached(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob(f"{path.stem}.*.ipynb"):
        old.unlink(missing_ok=True)
    part = target.with_suffix(f".{os.getpid()}.part")
    nbformat.write(notebook, part)
    part.replace(target)


def execute(path: Path, *, force: bool = False) -> Any:
    """The executed notebook of the chapter at `path`, from the cache if it is there.

    With `force` it runs in any case. A notebook in which a cell failed is returned
    like any other (see `failures`) but not kept. Raises ChapterError when the chapter
    ends its process or does not end.
    """
    if not force and (stored := cached(path)).exists():
        return nbformat.read(stored, as_version=4)
    return _executed([path])[path]


def _executed(paths: Sequence[Path]) -> dict[Path, Any]:
    """Run the chapters, and keep those in which nothing failed."""
    found = _run(paths) if paths else {}
    for path, notebook in found.items():
        if not failures(notebook):
            _store(path, notebook)
    return found


def execute_all() -> dict[Path, Any]:
    """The executed notebooks of all chapters, as many at once as there are cores.

    Raises what `execute` raises.
    """
    paths = sources()
    ran = _executed([path for path in paths if not cached(path).exists()])
    return {path: ran.get(path) or execute(path) for path in paths}


def problem(cell: Any) -> str | None:
    """What is wrong with an executed code cell; None when it did as it should.

    A cell tagged `raises-exception` must raise; any other must not.
    """
    errors = [o for o in cell.outputs if o.output_type == "error"]
    if "raises-exception" in cell.metadata.get("tags", []):
        return None if errors else "tagged raises-exception, but nothing was raised"
    return f"{errors[0].ename}: {errors[0].evalue}" if errors else None


def failures(notebook: Any) -> list[tuple[int, str]]:
    """The cells of an executed notebook that failed: number and what is wrong.

    A cell after the first that failed has not run; it is not listed.
    """
    return [
        (number, found)
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and cell.execution_count is not None
        and (found := problem(cell))
    ]
