"""Where litmus tests come from: the catalogue, and files."""

from __future__ import annotations

import difflib
from importlib.resources import as_file, files
from pathlib import Path

from spec.cells import SpecificationError
from spec.litmus.parser import read
from spec.litmus.program import Test

SUFFIX = ".litmus"


def catalogue() -> dict[str, Path]:
    """The tests that come with the specification, by name.

    >>> catalogue()["vmsplice-leak"].name
    'vmsplice-leak.litmus'
    """
    with as_file(files("spec.litmus") / "catalogue") as folder:
        found = {path.stem: path for path in folder.glob(f"*{SUFFIX}")}
    return dict(sorted(found.items()))


def find(name: str) -> Test:
    """The test in the file `name`, or the one of the catalogue that is called so.

    Raises:
        LitmusError: the file holds no litmus test.
        SpecificationError: there is no such file and no such test.
    """
    known = catalogue()
    path = Path(name)
    if path.exists():
        return read(path)
    if name in known:
        return read(known[name])
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise SpecificationError(
        f"no file and no test of the catalogue is called {name!r}; "
        f"the nearest is {near[0]!r}"
    )
