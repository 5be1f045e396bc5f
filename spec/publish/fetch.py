"""What the site brings for the reader's browser: pinned files from package registries.

Every file is pinned by a hash, so it does not matter which mirror it comes from. The
registries are those that pip and npm are set up for; npm itself need not be installed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements" / "browser.txt"
PYTHON_IN_BROWSER = "3.14"
PLATFORM = "pyemscripten_2026_0_wasm32"
"""The Python of the Pyodide below, and the tag of the wheels that it can load."""

_PUBLIC_REGISTRY = "https://registry.npmjs.org/"
_SECONDS = 60  # without an answer a registry is taken to be out of reach


class FetchError(Exception):
    """A pinned file could not be had; one sentence that says which and why."""


@dataclass(frozen=True)
class NpmPackage:
    """A release of an npm package.

    Args:
        name: without a scope.
        version: the exact release.
        integrity: of its tarball, as npm's lock files have it: ``sha512-`` and base64.
    """

    name: str
    version: str
    integrity: str

    def address(self, registry: str) -> str:
        """Where a registry keeps the tarball.

        >>> PYODIDE.address("https://registry.example/npm/")
        'https://registry.example/npm/pyodide/-/pyodide-314.0.6.tgz'
        """
        return f"{registry.rstrip('/')}/{self.name}/-/{self.name}-{self.version}.tgz"

    def check(self, content: bytes) -> None:
        """Raise FetchError unless `content` is the tarball that is pinned."""
        found = base64.b64encode(hashlib.sha512(content).digest()).decode()
        if f"sha512-{found}" != self.integrity:
            raise FetchError(
                f"{self.name} {self.version} has the hash sha512-{found}, but "
                f"{self.integrity} is pinned"
            )


PYODIDE = NpmPackage(
    "pyodide",
    "314.0.6",
    "sha512-BKDTJyIqFxC4BExLqeRS3f5xvXZIjOt8C3zGLN/Cc7tFxSwvKVhVkchQQ2AGLOtR4YrVOIFxb"
    "V8poyDOOmWwxQ==",
)
RUNTIME = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)
"""The files of the package that a browser loads; the rest is for other uses."""


def npm_registry(
    environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> str:
    """The registry that npm is set up for, by its environment variable or ``.npmrc``.

    >>> npm_registry({"npm_config_registry": "https://registry.example/"})
    'https://registry.example/'
    """
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if environment.get(name):
            return environment[name]
    settings = (home or Path.home()) / ".npmrc"
    if settings.is_file():
        text = settings.read_text(encoding="utf-8")
        if found := re.search(r"^\s*registry\s*=\s*(\S+)", text, re.M):
            return found[1]
    return _PUBLIC_REGISTRY


def npm_files(package: NpmPackage, names: tuple[str, ...], folder: Path) -> None:
    """Put files of an npm package into `folder`.

    Raises:
        FetchError: the registry cannot be reached, or what it has is not what is
            pinned.
    """
    address = package.address(npm_registry())
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
            content = answer.read()
    except OSError as error:
        raise FetchError(
            f"the site needs {package.name} {package.version}, and {address} cannot be "
            f"reached ({error})"
        ) from None
    package.check(content)
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for name in names:
            member = tar.extractfile(f"package/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read())


def _pip(*arguments: str) -> None:
    """Run pip; raises FetchError with the last line that it says if it fails."""
    # Who has set up an index for uv only means it for pip, too.
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    extra = {"PIP_INDEX_URL": index} if index else {}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        env=extra | os.environ,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = (lines or [done.stderr.strip()])[-1].removeprefix("ERROR: ")
        raise FetchError(
            f"pip could not {arguments[0]} what the reader's browser needs: {why}"
        )


def wheels(folder: Path, requirements: Path = REQUIREMENTS) -> None:
    """Put the wheels that are pinned for Pyodide's Python into `folder`.

    Raises:
        FetchError: no index has one of them, or it is not the one that is pinned.
    """
    digits = PYTHON_IN_BROWSER.replace(".", "")
    tags = ["--implementation", "cp", "--abi", f"cp{digits}", "--abi", "none"]
    _pip(
        *("download", "-q", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--python-version", PYTHON_IN_BROWSER, *tags, "--platform", PLATFORM),
        *("-d", str(folder), "-r", str(requirements)),
    )


def own_wheel(sources: Path, folder: Path) -> None:
    """Build the wheel of the project whose files are in `sources` into `folder`."""
    _pip(
        *("wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"),
        *("-w", str(folder), str(sources)),
    )
