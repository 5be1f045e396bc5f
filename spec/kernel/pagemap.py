"""What the kernel tells about a page without touching it.

/proc/PID/pagemap says which page an address maps and whether a PMD does,
/proc/kpageflags and /proc/kpagecount say what the page is and how often it is mapped.

The bit of a page of a large folio cannot always be seen: kernels since about 6.12
show the flags of the head for each of its pages. That is the bit in question for
the head itself, and for all pages while a PMD maps the folio.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import struct
from dataclasses import dataclass

from spec.kernel.syscalls import NUMBERS, PAGE_SIZE, map_page, munmap

# Documentation/admin-guide/mm/pagemap.rst
PM_PFRAME = (1 << 55) - 1
PM_SOFT_DIRTY, PM_SWAP, PM_PRESENT = 1 << 55, 1 << 62, 1 << 63
# linux/fs.h
PAGEMAP_SCAN = 0xC0606610
PAGE_IS_HUGE = 1 << 6
# linux/kernel-page-flags.h
KPF_ANON, KPF_COMPOUND_TAIL, KPF_ZERO_PAGE = 1 << 12, 1 << 16, 1 << 24
KPF_ANON_EXCLUSIVE = 1 << 34
"""KPF_MAPPEDTODISK (KPF_OWNER_2 in later kernels), which for an anonymous page is
PG_anon_exclusive."""


@dataclass(frozen=True)
class Entry:
    """What one address maps.

    `kind` is ``none``, ``page`` (anonymous), ``zero`` (the shared zeropage),
    ``swap`` (a swap or migration entry) or ``other``. The rest is about pages.
    `exclusive` is ``None`` where the bit of the page cannot be seen; `huge` says that
    a PMD maps the page.
    """

    kind: str
    pfn: int = 0
    exclusive: bool | None = False
    mapcount: int = 0
    huge: bool = False


class Pages:
    """The open files; close it, or use it with ``with``.

    Attributes:
        scan: whether to look for huge PMDs.
    """

    def __init__(self) -> None:
        self.scan = False
        self.flags = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.counts = os.open("/proc/kpagecount", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self.flags)
            raise

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        os.close(self.flags)
        os.close(self.counts)

    def entry(self, pagemap: int, address: int) -> Entry:
        """What `address` maps in the process whose pagemap file is open."""
        bits = _u64(pagemap, address // PAGE_SIZE)
        if bits & PM_SWAP:
            return Entry("swap")
        if not bits & PM_PRESENT:
            return Entry("none")
        pfn = bits & PM_PFRAME
        flags = _u64(self.flags, pfn)
        if flags & KPF_ZERO_PAGE:
            return Entry("zero")
        if not flags & KPF_ANON:
            return Entry("other", pfn)
        huge = self.scan and is_huge(pagemap, address)
        hidden = flags & KPF_COMPOUND_TAIL and not huge
        exclusive = None if hidden else bool(flags & KPF_ANON_EXCLUSIVE)
        return Entry("page", pfn, exclusive, _u64(self.counts, pfn), huge)


def is_huge(pagemap: int, address: int) -> bool:
    """Whether a PMD maps the page at `address` (``PAGE_IS_HUGE``, 6.7)."""
    found = ctypes.create_string_buffer(24)
    argument = struct.pack(
        "=12Q",
        *(96, 0, address, address + PAGE_SIZE, 0, ctypes.addressof(found), 1, 0),
        *(0, PAGE_IS_HUGE, 0, PAGE_IS_HUGE),
    )
    return bool(fcntl.ioctl(pagemap, PAGEMAP_SCAN, bytearray(argument)))


def present(pagemap: int, address: int, pages: int) -> list[bool]:
    """For each of some consecutive pages, whether one is mapped."""
    found = os.pread(pagemap, pages * 8, address // PAGE_SIZE * 8)
    return [bool(entry & PM_PRESENT) for entry in struct.unpack(f"={pages}Q", found)]


def has_soft_dirty() -> bool:
    """Whether the kernel tracks soft-dirty pages; a fresh page is one."""
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    address = map_page()
    try:
        ctypes.memset(address, 1, 1)
        return bool(_u64(pagemap, address // PAGE_SIZE) & PM_SOFT_DIRTY)
    finally:
        munmap(address)
        os.close(pagemap)


def _u64(file: int, index: int) -> int:
    """Entry `index` of a file of 64-bit numbers; 0 beyond its end."""
    found = os.pread(file, 8, index * 8)
    value: int = struct.unpack("=Q", found)[0] if len(found) == 8 else 0
    return value


def availability() -> str | None:
    """Why this machine's kernel cannot be observed, in one line; ``None`` if it can.

    The last test is the thing itself: a page just written must show the bit.
    """
    system, machine, release = platform.system(), platform.machine(), platform.release()
    if system != "Linux":
        return f"this is {system}; only a Linux kernel has the bit"
    if machine not in NUMBERS:
        return f"the driver knows {' and '.join(NUMBERS)}, this is {machine}"
    version = re.match(r"(\d+)\.(\d+)", release)
    if version and (int(version[1]), int(version[2])) < (5, 19):
        return f"Linux {release} has no PG_anon_exclusive; 5.19 is the first that has"
    try:
        entry = _fresh_page()
    except OSError as error:
        return f"{error.filename}: {error.strerror}; observing pages needs root"
    if entry.kind == "page" and entry.exclusive:
        return None
    if entry.kind == "other":
        return "/proc/self/pagemap hides page frame numbers; needs CAP_SYS_ADMIN"
    return f"Linux {release} does not show the bit in /proc/kpageflags"


def _fresh_page() -> Entry:
    with Pages() as pages:
        pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        address = map_page()
        try:
            ctypes.memset(address, 1, 1)
            entry = pages.entry(pagemap, address)
        finally:
            munmap(address)
            os.close(pagemap)
    hidden = entry.pfn == 0
    return Entry("other") if hidden else entry
