"""The folder `lite/` of the site: Python for the reader's browser, and JupyterLite.

Run buttons on pages and JupyterLite share one Pyodide and its wheels. What is fetched
or built is kept under build/browser, by a key of all that it is made from.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spec.publish import fetch, lite, notices

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "browser"
NAME = "anon-exclusive"
KERNEL = "@jupyterlite/pyodide-kernel-extension"
KERNEL_WHEELS = ("ipykernel", "piplite", "pyodide_kernel")
ABOUT = "package.json"
"""What Pyodide's npm package says of itself."""
STARTED_WITH = (
    *("micropip", "piplite", "ipykernel", "comm", "pyodide-kernel", "jedi"),
    *("ipython", NAME),
)
"""What JupyterLite's kernel has before a cell runs; all else is loaded on import."""
_NOT_IN_BROWSER = {"numpy"}
"""What the package asks for and can do without: it is faster with it."""
_IN_BROWSER = {
    "extra": "",
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "wasm32",
    "platform_python_implementation": "CPython",
    "platform_system": "Emscripten",
    "python_full_version": f"{fetch.PYTHON_IN_BROWSER}.0",
    "python_version": fetch.PYTHON_IN_BROWSER,
    "sys_platform": "emscripten",
}
_TOP_LEVEL = re.compile(r"([A-Za-z_]\w*)(?:\.py|\.so|\.cpython.*)?")
_PACKAGED = {".py", ".lark", ".litmus", ".json"}


# -- what is kept ----------------------------------------------------------------------


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:16]


def _kept(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` has filled for this key; it is called once for a key."""
    target = KEPT / f"{name}-{key}"
    if not target.is_dir():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            make(made)
            for old in KEPT.glob(f"{name}-*"):
                shutil.rmtree(old)
            made.rename(target)
    return target


def runtime() -> Path:
    """Pyodide in `pyodide/`, in `wheels/` those of other projects, and `package.json`.

    Raises:
        fetch.FetchError: a registry cannot be reached, or has something else.
    """

    def make(folder: Path) -> None:
        names = (*fetch.RUNTIME, ABOUT)
        fetch.npm_files(fetch.PYODIDE, names, folder / "pyodide")
        (folder / "pyodide" / ABOUT).rename(folder / ABOUT)
        fetch.wheels(folder / "wheels")
        for wheel in (_extension() / "static" / "pypi").glob("*.whl"):
            if wheel.name.startswith(KERNEL_WHEELS):
                shutil.copy(wheel, folder / "wheels")

    wanted = fetch.REQUIREMENTS.read_text(encoding="utf-8")
    pins = fetch.PYODIDE.integrity, *fetch.RUNTIME, ABOUT, wanted
    return _kept("runtime", _hash([*map(str.encode, pins), _jupyterlite()]), make)


def _extension() -> Path:
    """JupyterLite's Python kernel as it is installed."""
    return Path(sys.prefix, "share", "jupyter", "labextensions", KERNEL)


def _jupyterlite() -> bytes:
    """The releases of JupyterLite that are installed."""
    names = "jupyterlite-core", "jupyterlite-pyodide-kernel"
    return " ".join(metadata.version(name) for name in names).encode()


def package() -> Path:
    """The wheel of this project, in a folder that has the key of its content.

    Raises:
        fetch.FetchError: pip cannot build it.
    """
    about = [ROOT / "pyproject.toml", ROOT / "README.md", *ROOT.glob("LICENSE*")]
    sources = [p for p in (ROOT / "spec").rglob("*") if p.suffix in _PACKAGED]

    def make(folder: Path) -> None:
        # From a copy: what setuptools leaves in build/ would end up in the next wheel.
        with tempfile.TemporaryDirectory() as scratch:
            for path in (*about, *sources):
                copy = Path(scratch) / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
            fetch.own_wheel(Path(scratch), folder)

    files = sorted([*about, *sources])
    names = (path.relative_to(ROOT).as_posix().encode() for path in files)
    contents = (path.read_bytes() for path in files)
    folder = _kept("package", _hash([*names, *contents]), make)
    return next(folder.glob("*.whl"))


def app(pyodide: Path) -> Path:
    """JupyterLite without notebooks, set up for the Pyodide in the folder `pyodide`.

    Raises:
        fetch.FetchError: JupyterLite cannot be built.
    """
    config = json.dumps(lite.config(STARTED_WITH))

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            shutil.copytree(pyodide, work / "static" / "pyodide")
            (work / "jupyter-lite.json").write_text(config)
            building = lite.build_config(folder, _extension())
            (work / "jupyter_lite_config.json").write_text(json.dumps(building))
            done = subprocess.run(
                [sys.executable, "-m", "jupyterlite_core", "build"],
                cwd=work,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise fetch.FetchError(f"JupyterLite cannot be built: {done.stdout[-500:]}")

    key = _hash([config.encode(), _jupyterlite(), str(pyodide).encode()])
    return _kept("app", key, make)


# -- the lock file ---------------------------------------------------------------------


@dataclass(frozen=True)
class Wheel:
    """A wheel, and its path from Pyodide's folder."""

    path: Path
    url: str

    @cached_property
    def _names(self) -> list[str]:
        with zipfile.ZipFile(self.path) as archive:
            return archive.namelist()

    @cached_property
    def _metadata(self) -> Message:
        name = next(n for n in self._names if n.endswith(".dist-info/METADATA"))
        with zipfile.ZipFile(self.path) as archive:
            return Parser().parsestr(archive.read(name).decode())

    @property
    def name(self) -> str:
        """The normalised name of the project."""
        return canonicalize_name(self._metadata["Name"])

    def imports(self) -> list[str]:
        """The top-level modules in it."""
        tops = {name.partition("/")[0] for name in self._names}
        return sorted(found[1] for top in tops if (found := _TOP_LEVEL.fullmatch(top)))

    def depends(self) -> list[str]:
        """The projects that it needs in the browser."""
        needs = map(Requirement, self._metadata.get_all("Requires-Dist") or [])
        names = {
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate(_IN_BROWSER)
        }
        return sorted(names - _NOT_IN_BROWSER)

    def entry(self) -> dict[str, Any]:
        """What Pyodide's lock file says of it."""
        return {
            "name": self._metadata["Name"],
            "version": self._metadata["Version"],
            "file_name": self.url,
            "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "imports": self.imports(),
            "depends": self.depends(),
            "install_dir": "site",
            "package_type": "package",
            "shared_library": False,
            "unvendored_tests": False,
        }


def lock(original: Mapping[str, Any], wheels: Iterable[Wheel]) -> dict[str, Any]:
    """Pyodide's own lock file with these wheels as its only packages.

    Raises:
        fetch.FetchError: a wheel needs a project that is not among them.
    """
    found = {wheel.name: wheel for wheel in wheels}
    for name, wheel in found.items():
        if missing := sorted(set(wheel.depends()) - set(found)):
            raise fetch.FetchError(
                f"{name} needs {', '.join(missing)} in the browser; name it in "
                f"requirements/browser.in and run make lock"
            )
    packages = {name: wheel.entry() for name, wheel in sorted(found.items())}
    return {**original, "packages": packages}


# -- the folder ------------------------------------------------------------------------


def prepare() -> None:
    """Fetch and build all that `publish` puts together; raises as it does."""
    package()
    app(runtime() / "pyodide")


def third_party() -> notices.Notices:
    """What `publish` puts into the site that others wrote.

    Raises:
        SpecificationError: something does not tell its licence.
        fetch.FetchError: as `prepare` does.
    """
    parts = runtime()
    pyodide = parts / "pyodide"
    return notices.collect(_wheels(parts), pyodide, parts / ABOUT, app(pyodide))


def publish(folder: Path, chapters: Iterable[Path], site_url: str) -> None:
    """Make `folder` the `lite/` of a site.

    Args:
        folder: must not exist yet.
        chapters: the percent files that JupyterLite offers.
        site_url: where the site will be, for links out of notebooks.

    Raises:
        fetch.FetchError: a registry cannot be reached, or has something else.
    """
    parts = runtime()
    own = package()
    shutil.copytree(app(parts / "pyodide"), folder)
    static = folder / "static"
    shutil.copytree(parts / "wheels", static / "wheels")
    # In a folder of its own for each content: no browser may take an old one for it.
    own_url = f"../wheels/{own.parent.name}/{own.name}"
    target = static / "pyodide" / own_url
    target.parent.mkdir()
    shutil.copy(own, target)
    others = [Wheel(path, f"../wheels/{path.name}") for path in _wheels(parts)]
    packages = lock(
        json.loads((parts / "pyodide" / "pyodide-lock.json").read_bytes()),
        [*others, Wheel(own, own_url)],
    )
    (static / "pyodide" / "pyodide-lock.json").write_text(json.dumps(packages))
    (folder / "run.json").write_text(json.dumps(_told_to_pages(static, own_url)))
    lite.add_icons(folder)
    lite.add_notebooks(folder, chapters, site_url)


def _wheels(parts: Path) -> list[Path]:
    return sorted((parts / "wheels").glob("*.whl"))


def _told_to_pages(static: Path, own_url: str) -> dict[str, Any]:
    """What a Run button must know: the wheel, and how much it is going to load."""
    loaded = [name for name in fetch.RUNTIME if not name.endswith(".mjs")]
    paths = [*(static / "pyodide" / name for name in loaded)]
    paths.append(static / "pyodide" / own_url)
    return {"wheel": own_url, "bytes": sum(path.stat().st_size for path in paths)}
