"""What this machine offers to the driver, looked up when it is needed.

Nothing here changes the machine. What would is left to a driver that was told that
the machine is its own: a guest that nobody else uses.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
from functools import cache
from pathlib import Path

from spec.kernel.syscalls import PAGE_SIZE, libc, map_page, mprotect, munmap

SWAPS = Path("/proc/swaps")
NODES = Path("/sys/devices/system/node/has_memory")
KSM = Path("/sys/kernel/mm/ksm")
# linux/magic.h
HONEST_O_DIRECT = {0xEF53: "ext4", 0x58465342: "xfs"}
"""File systems whose O_DIRECT always takes the pages themselves."""


def release() -> tuple[int, int]:
    """The running kernel's version, for instance (6, 12); (0, 0) if it has none."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def has_swap() -> bool:
    """Whether some swap device or file is on."""
    try:
        return len(SWAPS.read_text().splitlines()) > 1
    except OSError:
        return False


def memory_nodes() -> list[int]:
    """The NUMA nodes that have memory.

    >>> numbers("0-1,3")
    [0, 1, 3]
    """
    try:
        return numbers(NODES.read_text())
    except OSError:
        return [0]


def numbers(text: str) -> list[int]:
    """The numbers of a list as the kernel writes it."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@cache
def memory_file_forces() -> bool:
    """Whether /proc/self/mem writes where the mapping is R/O (FOLL_FORCE).

    Since 6.12 a kernel may be built or booted to allow that to a tracer only.
    """
    address = map_page()
    try:
        mprotect(address, writable=False)
        file = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(file, b"\1", address)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in (errno.EIO, errno.EACCES, errno.EPERM):
            return False
        raise
    finally:
        munmap(address)
    return True


def direct_io_pins() -> bool | None:
    """Whether O_DIRECT takes pages with FOLL_PIN, not FOLL_GET; ``None``: unknown.

    Block devices and iomap changed to ``iov_iter_extract_pages`` between the two
    releases named here.
    """
    if release() >= (6, 5):
        return True
    return False if release() <= (6, 2) else None


def file_for_direct_io() -> int:
    """An open file without a name, of one page, with O_DIRECT.

    Raises:
        OSError: the folder for temporary files is on a file system that has no
            O_DIRECT, or may do without the pages themselves.
    """
    folder = os.environ.get("TMPDIR", "/tmp")
    if _file_system(folder) not in HONEST_O_DIRECT:
        names = " or ".join(HONEST_O_DIRECT.values())
        raise OSError(errno.EOPNOTSUPP, f"O_DIRECT needs {names}", folder)
    flags = os.O_TMPFILE | os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC
    file = os.open(folder, flags, 0o600)
    try:
        store(file, 0)
    except OSError:
        os.close(file)
        raise
    return file


def store(file: int, value: int) -> None:
    """Fill the first page of a file that was opened with O_DIRECT."""
    address = map_page()
    try:
        ctypes.memset(address, value, PAGE_SIZE)
        os.pwrite(file, page_at(address), 0)
    finally:
        munmap(address)


def page_at(address: int) -> ctypes.Array[ctypes.c_char]:
    """The memory of one page, as a buffer."""
    return (ctypes.c_char * PAGE_SIZE).from_address(address)


def _file_system(folder: str) -> int:
    """``statfs(2)``: the magic number of the file system of a folder."""
    found = ctypes.create_string_buffer(256)
    if libc.statfs(os.fsencode(folder), found):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), folder)
    return ctypes.c_ulong.from_buffer(found).value
