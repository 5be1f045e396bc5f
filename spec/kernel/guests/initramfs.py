"""The initramfs of a guest: this Python, the driver, the modules; nothing else.

The Python that runs this is the one that goes in, with the part of its library that
the driver imports, compiled: a guest without hardware acceleration should not.
"""

from __future__ import annotations

import importlib.util
import json
import py_compile
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from spec.kernel.guests.packages import content, plain_name

INIT = "spec.kernel.guests.init"
ENCODINGS = ("encodings.ascii", "encodings.latin_1")
MODULES = "/modules"
FILE, FOLDER = 0o100755, 0o040755


def initramfs(modules: Iterable[Path]) -> bytes:
    """An archive for the kernel with these modules, to be loaded in this order."""
    python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    files = dict(_library(python))
    files["/init"] = f"#!{python} -SE\nimport {INIT}\n{INIT}.main()\n".encode()
    for number, module in enumerate(modules):
        name = f"{number:02}-{plain_name(module)}.ko"
        files[f"{MODULES}/{name}"] = content(module)
    return archive(files)


def _library(python: Path) -> Iterator[tuple[str, bytes]]:
    """The interpreter, what it imports, and the shared libraries of all of it."""
    yield str(python), python.read_bytes()
    library = Path(importlib.util.__file__).parents[1]
    objects = [python]
    for name, path in _imported(python):
        if path.suffix == ".py":
            package = name.replace(".", "/")
            package += "/__init__" if path.stem == "__init__" else ""
            yield f"{library}/{package}.pyc", _compiled(path)
        else:
            objects.append(path)
            yield str(path), path.read_bytes()
    for needed in _shared(objects):
        yield str(needed), needed.read_bytes()


def _imported(python: Path) -> list[tuple[str, Path]]:
    """Name and file of each module that the driver imports, itself included.

    The driver is run, with nothing to do: some modules are imported on first use.
    """
    root = Path(__file__).resolve().parents[3]
    lines = [
        f"import sys; sys.path.append({str(root)!r})",
        *(f"import {name}" for name in (INIT, "spec.kernel.driver", *ENCODINGS)),
        "spec.kernel.driver.main([])",
        "import json",
        "of = {n: getattr(m, '__file__', 0) for n, m in list(sys.modules.items())}",
        "print(json.dumps([(n, f) for n, f in of.items() if f]))",
    ]
    command = [str(python), "-SE", "-c", "\n".join(lines)]
    nothing = subprocess.DEVNULL
    done = subprocess.run(
        command, stdin=nothing, capture_output=True, check=True, text=True
    )
    return [(name, Path(file)) for name, file in json.loads(done.stdout)]


def _compiled(path: Path) -> bytes:
    """A module without its source: it is imported from wherever it lies."""
    cache = Path(importlib.util.cache_from_source(str(path)))
    if not cache.exists():
        py_compile.compile(str(path), doraise=True)
    return cache.read_bytes()


def _shared(objects: Iterable[Path]) -> set[Path]:
    """The shared libraries that these files need, and the loader."""
    found: set[Path] = set()
    for each in objects:
        done = subprocess.run(["ldd", each], capture_output=True, check=True, text=True)
        found.update(Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout))
    return found


# -- the archive -----------------------------------------------------------------------


def archive(files: dict[str, bytes]) -> bytes:
    """A cpio archive in the format that the kernel reads ("newc").

    Args:
        files: by absolute path; folders are made as needed.
    """
    folders = {str(p) for path in files for p in Path(path).parents if p != Path("/")}
    folders |= {"/dev", "/proc", "/sys", "/tmp"}
    parts = [_entry(path, FOLDER, b"") for path in sorted(folders)]
    parts += [_entry(path, FILE, content) for path, content in files.items()]
    return b"".join([*parts, _entry("TRAILER!!!", 0, b"")])


def _entry(path: str, mode: int, content: bytes) -> bytes:
    name = path.lstrip("/").encode() + b"\0"
    fields = [0] * 13
    fields[1], fields[4], fields[6], fields[11] = mode, 1, len(content), len(name)
    head = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(head + name, 4) + _padded(content, 4)


def _padded(content: bytes, size: int) -> bytes:
    return content + b"\0" * (-len(content) % size)
