"""Kernels that Debian still serves: found by pattern, fetched, unpacked.

apt works in a folder of its own; what the machine has configured is read (where the
archive is) and never changed. Package names move with each point release, so that a
suite is asked for the newest one that a pattern matches.
"""

from __future__ import annotations

import json
import lzma
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from spec.kernel.observe import KernelError
from spec.publish.verdicts import FOLDER as VERDICTS

KERNELS = VERDICTS.with_name("kernels")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MODULES = ("lzo-rle", "zram", "brd", "dm-mod")
"""Modules that a guest loads, where the kernel does not have them built in: swap on
compressed memory, and a disk whose I/O waits."""
PATIENCE = 120.0
"""Seconds until a download is given up."""


class NotAvailable(KernelError):
    """A kernel that cannot be fetched or booted here; says why."""


@dataclass(frozen=True)
class Source:
    """Where a release comes from.

    Attributes:
        name: what it is called here.
        suite: of Debian.
        image: pattern of the name of the package with the kernel.
        modules: pattern of the package with its modules, if that is another.
    """

    name: str
    suite: str
    image: str
    modules: str = ""

    @property
    def patterns(self) -> list[str]:
        """Of all packages."""
        return [pattern for pattern in (self.image, self.modules) if pattern]


SOURCES = {
    source.name: source
    for source in (
        Source("5.10", "bullseye", r"linux-image-5\.10\.0-\d+-cloud-amd64-unsigned"),
        Source("6.1", "bookworm", r"linux-image-6\.1\.0-\d+-cloud-amd64-unsigned"),
        Source("6.12", "trixie", r"linux-image-6\.12\.\S+-cloud-amd64-unsigned"),
        Source(
            "7",
            "sid",
            r"linux-binary-unsigned-7\.\d+\S*-cloud-amd64",
            r"linux-modules-7\.\d+\S*-cloud-amd64",
        ),
    )
}
"""Kernels for clouds: they boot fastest in QEMU."""
SIGNS = {r"\d+": "N", r"\S+": "*", r"\S*": "*", "\\": ""}
"""How parts of a pattern are shown to people."""


@dataclass(frozen=True)
class Image:
    """A kernel that can be booted.

    Attributes:
        origin: the packages that it comes from, or the path of one's own.
        kernel: the bzImage.
        modules: to be loaded, in order.
    """

    origin: str
    kernel: Path
    modules: tuple[Path, ...] = ()


def own(kernel: Path, modules: Path | None = None) -> Image:
    """A kernel of one's own.

    Args:
        kernel: a bzImage.
        modules: a folder with what is not built in, as ``/lib/modules/6.12.1``.
    """
    files = {} if modules is None else _modules(modules)
    needed = tuple(files[name] for name in _in_order(MODULES, files))
    return Image(str(kernel), kernel, needed)


def fetch(source: Source, *, afresh: bool = False) -> Image:
    """The kernel of a source, from `KERNELS` or from the archive.

    Args:
        source: one of `SOURCES`.
        afresh: ask the archive even if there is one.

    Raises:
        NotAvailable: there is no such package any more, or no archive can be reached.
    """
    folder = KERNELS / source.name
    if not afresh and (found := _stored(folder)):
        return found
    KERNELS.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=KERNELS, prefix=".") as aside:
        unpacked = Path(aside) / "unpacked"
        packages = _download(source, Path(aside) / "apt", unpacked)
        kept = Path(aside) / "kept"
        _keep(unpacked, kept, " and ".join(packages))
        shutil.rmtree(folder, ignore_errors=True)
        kept.replace(folder)
    found = _stored(folder)
    assert found is not None
    return found


def _stored(folder: Path) -> Image | None:
    about = folder / "image.json"
    if not about.exists():
        return None
    found = json.loads(about.read_text(encoding="utf-8"))
    modules = tuple(folder / name for name in found["modules"])
    return Image(found["origin"], folder / found["kernel"], modules)


# -- apt -------------------------------------------------------------------------------


def _download(source: Source, apt: Path, target: Path) -> list[str]:
    """Unpack the newest packages of a source; returns their names and versions."""
    options = _private(apt, source.suite)
    try:
        _run("apt-get", *options, "-qq", "update")
        packages = [_newest(options, pattern, source) for pattern in source.patterns]
        _run("apt-get", *options, "-qq", "download", *packages, folder=apt)
        files = sorted(apt.glob("*.deb"))
        for file in files:
            _run("dpkg-deb", "-x", str(file), str(target))
    except subprocess.CalledProcessError as error:
        raise NotAvailable(_why(error, source)) from None
    except subprocess.TimeoutExpired:
        raise NotAvailable(
            f"fetching {source.name} from {source.suite} took over {PATIENCE:.0f} s"
        ) from None
    return [" ".join(file.stem.split("_")[:2]) for file in files]


def _private(apt: Path, suite: str) -> list[str]:
    """Options that make apt use `apt` and nothing else, with one suite in it."""
    for folder in ("state/lists/partial", "cache/archives/partial", "parts"):
        (apt / folder).mkdir(parents=True)
    line = f"deb [signed-by={KEYRING}] {archive()} {suite} main\n"
    (apt / "sources.list").write_text(line, encoding="utf-8")
    settings = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": apt / "parts",
        "Dir::State": apt / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",
        "APT::Architecture": "amd64",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
    }
    return [
        word for key, value in settings.items() for word in ("-o", f"{key}={value}")
    ]


def archive() -> str:
    """The address of the Debian archive that this machine's apt uses.

    Raises:
        NotAvailable: apt is not there, or has no Debian archive.
    """
    if shutil.which("apt-get") is None:
        raise NotAvailable("this machine has no apt-get to fetch Debian's kernels with")
    if not KEYRING.exists():
        raise NotAvailable(f"{KEYRING} is not there; package debian-archive-keyring")
    targets = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    for uri in dict.fromkeys(_run("apt-get", *targets).split()):
        if urlsplit(uri).path.rstrip("/").endswith("/debian"):
            return uri
    raise NotAvailable("apt on this machine has no Debian archive among its sources")


def _newest(options: Sequence[str], pattern: str, source: Source) -> str:
    """The name of the newest package that matches."""
    names = _run("apt-cache", *options, "pkgnames", "linux-").split()
    matching = [name for name in names if re.fullmatch(pattern, name)]
    if not matching:
        name = pattern
        for part, sign in SIGNS.items():
            name = name.replace(part, sign)
        raise NotAvailable(f"{source.suite} has no package named like {name}")
    return max(matching, key=_version)


def _version(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        check=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


def _why(error: subprocess.CalledProcessError, source: Source) -> str:
    """In one line, what apt says last that is an error."""
    said = [line for line in error.stderr.splitlines() if line.startswith("E:")]
    last = said[0].removeprefix("E:").strip() if said else f"{error.cmd[0]} failed"
    return f"{source.suite} cannot be fetched from: {last}"


# -- what is kept ----------------------------------------------------------------------


def _keep(unpacked: Path, target: Path, origin: str) -> None:
    """Keep the kernel and the modules that a guest loads, 13 MB of 80."""
    target.mkdir()
    kernel = next(_kernels(unpacked))
    shutil.copy(kernel, target / "vmlinuz")
    files = _modules(unpacked)
    names = list(_in_order(MODULES, files))
    for name in names:
        (target / f"{name}.ko").write_bytes(content(files[name]))
    about = asdict(Image(origin, Path("vmlinuz")))
    about |= {"kernel": "vmlinuz", "modules": [f"{name}.ko" for name in names]}
    (target / "image.json").write_text(json.dumps(about), encoding="utf-8")


def _kernels(unpacked: Path) -> Iterator[Path]:
    yield from unpacked.glob("boot/vmlinuz*")
    yield from unpacked.glob("usr/lib/modules/*/vmlinuz*")
    raise NotAvailable("the package holds no kernel")


def _modules(folder: Path) -> dict[str, Path]:
    """All modules below a folder, by name."""
    return {plain_name(path): path for path in folder.rglob("*.ko*")}


def plain_name(path: Path) -> str:
    """The name of a module, as others name it that depend on it."""
    return path.name.partition(".ko")[0].replace("_", "-")


def _in_order(wanted: Sequence[str], files: dict[str, Path]) -> Iterator[str]:
    """Modules after those that they depend on; what is built in has no file."""
    seen: set[str] = set()
    for name in wanted:
        for each in _with_needed(name, files):
            if each not in seen:
                seen.add(each)
                yield each


def _with_needed(name: str, files: dict[str, Path]) -> Iterator[str]:
    if name in files:
        for other in _depends(content(files[name])):
            yield from _with_needed(other, files)
        yield name


def _depends(module: bytes) -> list[str]:
    """The modules that a module depends on: an entry of its section .modinfo."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    names = found[1].decode().split(",") if found else []
    return [name.replace("_", "-") for name in names if name]


def content(path: Path) -> bytes:
    """A module as it is loaded."""
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(
            ["zstd", "-dc", path], capture_output=True, check=True
        ).stdout
    return path.read_bytes()
