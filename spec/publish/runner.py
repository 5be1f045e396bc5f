"""Run the cells of chapters, each in a process of its own, with IPython's shell.

The processes are forked from one that has imported what all need; no Jupyter kernel and
no socket is involved. A chapter of the package runs *inside* the module of its own
name: what a cell of `spec/fork.py` defines is what `from spec.fork import ...` gives to
the cells and modules that come later.

Use: `python -m spec.publish.runner SECONDS CHAPTER TARGET ...` (see
`spec.publish.chapters`).
"""

import base64
import io
import os
import signal
import sys
import traceback
from itertools import batched
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_output
from traitlets.config import Config

from spec.publish import chapters, live

# What the running cell has put out so far: text, values, displays, a traceback.
_outputs: list[Any] = []


class _Stream(io.TextIOBase):
    """Text written by a cell, kept in the order in which text and results came."""

    encoding = "utf-8"

    def __init__(self, name: str) -> None:
        self._name = name

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        last = _outputs[-1] if _outputs else None
        if last and last.output_type == "stream" and last.name == self._name:
            last.text += text
        elif text:
            _outputs.append(new_output("stream", name=self._name, text=text))
        return len(text)


def _printable(data: dict[str, Any]) -> dict[str, Any]:
    """The data of an output as a notebook stores it: pictures in base64."""
    return {
        mime: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for mime, value in data.items()
    }


class _Publisher(DisplayPublisher):
    """`display(...)`: an output like any other."""

    def publish(
        self, data: Any, metadata: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        output = new_output("display_data", data=_printable(data))
        output.metadata.update(metadata or {})
        _outputs.append(output)


class _Hook(DisplayHook):
    """The value of a cell's last line."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        output = new_output(
            "execute_result",
            data=_printable(format_dict),
            execution_count=self.prompt_count,
        )
        output.metadata.update(md_dict or {})
        _outputs.append(output)


class _Shell(InteractiveShell):
    """IPython's shell, its tracebacks kept as outputs."""

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        _outputs.append(
            new_output(
                "error", ename=etype.__name__, evalue=str(evalue), traceback=list(stb)
            )
        )


def _shell(module: ModuleType | None) -> InteractiveShell:
    """The shell of this process; it runs in `module`, or in a new `__main__`."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    return _Shell.instance(
        config=config,
        user_module=module,
        display_pub_class=_Publisher,
        displayhook_class=_Hook,
    )


def _run_cell(shell: InteractiveShell, cell: Any) -> None:
    _outputs.clear()
    terminal = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stream("stdout"), _Stream("stderr")
    try:
        result = shell.run_cell(cell.source, store_history=True)
    finally:
        sys.stdout, sys.stderr = terminal
    cell["outputs"] = list(_outputs)
    cell["execution_count"] = result.execution_count


def run(path: Path) -> Any:
    """The notebook of the chapter at `path`, its code cells executed.

    The first cell that raises, or does not raise though its tag `raises-exception`
    says so, is the last one that runs; `chapters.failures` tells. Meant to be called
    once in a process.
    """
    notebook = chapters.read(path)
    name = chapters.module_name(path)
    shell = _shell(None if name is None else live.module_for(name))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            _run_cell(shell, cell)
            if chapters.problem(cell):
                break
    return notebook


def _without_paths(value: Any) -> Any:
    """The value with this machine's path of the project taken out of its texts."""
    if isinstance(value, str):
        for prefix in chapters.root_spellings():
            value = value.replace(prefix, "")
        return value
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, dict):
        return type(value)((k, _without_paths(item)) for k, item in value.items())
    return value


def execute(chapter: str, target: str) -> None:
    """Execute the file `chapter` and write the notebook to the file `target`."""
    notebook = run(Path(chapter))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell["outputs"] = _without_paths(cell["outputs"])
    nbformat.write(notebook, target)


def _child(chapter: str, target: str, seconds: int) -> int:
    """Execute one chapter in a process that ends with it; the id of the process."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    signal.alarm(seconds)
    status = 1
    try:
        log = os.open(f"{target}.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 2)
        os.environ["IPYTHONDIR"] = f"{target}.ipython"
        execute(chapter, target)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def main(seconds: int, chapters_and_targets: list[str]) -> None:
    """Execute chapters, as many at once as there are cores.

    What each puts to standard error is in the file `TARGET.log`, and the exit status
    of its process in `TARGET.status`.

    Args:
        seconds: after which a chapter that has not ended is ended.
        chapters_and_targets: in turn.
    """
    todo = list(batched(chapters_and_targets, 2))
    running: dict[int, str] = {}
    while todo or running:
        if todo and len(running) < (os.cpu_count() or 1):
            chapter, target = todo.pop(0)
            running[_child(chapter, target, seconds)] = target
            continue
        pid, status = os.wait()
        ended = os.waitstatus_to_exitcode(status)
        Path(f"{running.pop(pid)}.status").write_text(str(ended))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
