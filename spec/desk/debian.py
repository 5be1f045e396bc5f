"""Kernel sources from Debian's packages, fetched into a folder of one's own.

Only the files that anchors name are unpacked. The lists and keys of the system's own
apt are not touched.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from spec.cells import SpecificationError, one_of
from spec.desk.anchors import places, symbols

SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "7.2": "forky"}
"""The suite that has ``linux-source-RELEASE``, by release."""

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LAST_FOLDER = "mm"
"""What follows this folder in the archive, which is sorted, is not needed."""


def wanted() -> frozenset[str]:
    """The files that anchors name, and the Makefile, which says the release."""
    files = {
        place.partition(":")[0] for symbol in symbols() for place in places(symbol)
    }
    return frozenset({"Makefile", *files})


def fetch(release: str, folder: Path) -> str:
    """Unpack the wanted files of a release into a folder; returns the package.

    Raises:
        SpecificationError: Debian has no such package, it cannot be fetched, or there
            is no apt.
    """
    suite = SUITES[one_of(release, SUITES, "release with sources in Debian")]
    package = f"linux-source-{release}"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as aside:
        archive = _download(Path(aside), suite, package)
        files = dict(_unpacked(archive))
        version = archive.name.split("_")[1].replace("%3a", ":")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return f"{package} {version}"


def _run(*words: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    except FileNotFoundError:
        raise SpecificationError(
            f"kernel sources are fetched with {words[0]}, which is not here; run this "
            f"on Debian or give a tree that you have"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise SpecificationError(f"{words[0]} failed: {said[-1]}")
    return done.stdout


def _mirror() -> str:
    """The archive that the system itself uses."""
    found = _run(
        "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"
    )
    mirrors = [uri for uri in found.split() if uri.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise SpecificationError(
            "apt knows no mirror of Debian; run apt-get update on Debian first"
        )
    return mirrors[0]


def _download(aside: Path, suite: str, package: str) -> Path:
    """The package, with lists of its own: the system's may lack the suite."""
    for part in ("state/lists/partial", "cache/archives/partial", "parts"):
        (aside / part).mkdir(parents=True)
    (aside / "sources.list").write_text(
        f"deb [signed-by={KEYS}] {_mirror()} {suite} main\n", encoding="utf-8"
    )
    options = {
        "Dir::Etc::sourcelist": aside / "sources.list",
        "Dir::Etc::sourceparts": aside / "parts",
        "Dir::State": aside / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": aside / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": 3,
    }
    told = [
        word for name, value in options.items() for word in ("-o", f"{name}={value}")
    ]
    _run("apt-get", "-qq", *told, "update")
    _run("apt-get", "-qq", *told, "download", package, cwd=aside)
    return next(aside.glob(f"{package}_*.deb"))


def _unpacked(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each wanted file in the tarball inside the package."""
    files = wanted()
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as outer,
    ):
        for member in outer:
            content = outer.extractfile(member) if member.isfile() else None
            if content is not None and member.name.endswith(".tar.xz"):
                yield from _files(content, files)
                break
        unpacking.kill()


def _files(content: IO[bytes], files: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=content, mode="r|xz") as tree:
        for member in tree:
            name = member.name.partition("/")[2]
            if name.partition("/")[0] > _LAST_FOLDER:
                return
            file = tree.extractfile(member) if name in files else None
            if file is not None:
                yield name, file.read()
