"""Chapters and notebooks: percent files that are executed once and cached.

Tests and site both ask here, so a cell runs once for the two of them. A cached result
is used again only while everything that a cell can see is unchanged (`cached`).
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "executed"
FOLDERS = ("spec", "notebooks")

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_CELL = re.compile(r"# %%", re.M)
_SEEN_BY_CELLS = ("*.py", "*.lark", "*.litmus", "*.json")
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


def _key(path: Path) -> str:
    """Changes with the notebook, the package, the requirements and Python."""
    digest = hashlib.sha256(sys.version.encode())
    files = [path, *(ROOT / "requirements").glob("*.txt")]
    for pattern in _SEEN_BY_CELLS:
        files += (ROOT / "spec").rglob(pattern)
    for file in sorted(set(files)):
        content = file.read_bytes()
        name = file.relative_to(ROOT).as_posix()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:24]


def cached(path: Path) -> Path:
    """Where the executed notebook of the chapter at `path`, as it is now, is kept.

    The name changes with the chapter, every module, grammar and litmus file of the
    package (the runner among them), the pinned requirements and Python.
    """
    return CACHE / path.parent.name / f"{path.stem}.{_key(path)}.ipynb"


def _run(path: Path) -> Any:
    """Execute the chapter in a new process; raises ChapterError for no result."""
    name = path.relative_to(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "executed.ipynb"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "spec.publish.runner", str(path), str(target)],
                cwd=ROOT,
                env=os.environ | _SURROUNDINGS | {"IPYTHONDIR": scratch},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise ChapterError(f"{name} did not end in {_SECONDS} s") from None
        if not target.exists():
            status = done.returncode
            raise ChapterError(f"{name} ended its process ({status})\n{done.stderr}")
        return nbformat.read(target, as_version=4)


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
    notebook = _run(path)
    if not failures(notebook):
        _store(path, notebook)
    return notebook


def execute_all() -> dict[Path, Any]:
    """The executed notebooks of all chapters, as many at once as there are cores.

    Raises what `execute` raises.
    """
    paths = sources()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(execute, paths), strict=True))


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
