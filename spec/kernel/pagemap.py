"""What the kernel tells about a page without touching it.

/proc/PID/pagemap says which page an address maps and whether a PMD does,
/proc/kpageflags and /proc/kpagecount say what the page is and how often it is mapped.

The bit of a page of a large folio cannot always be seen: kernels since about 6.12
show the flags of the head for each of its pages. That is the bit in question for
the head itself, and for all pages while a PMD maps the folio.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from spec.kernel.abilities import release
from spec.kernel.syscalls import NUMBERS, PAGE_SIZE, map_page, munmap

# Documentation/admin-guide/mm/pagemap.rst
PM_PFRAME = (1 << 55) - 1
PM_SOFT_DIRTY, PM_SWAP, PM_PRESENT = 1 << 55, 1 << 62, 1 << 63
# linux/fs.h
PAGEMAP_SCAN = 0xC0606610
PAGE_IS_HUGE = 1 << 6
FIRST_WITH_BIT = (5, 19)
# linux/kernel-page-flags.h
KPF_ANON, KPF_SWAPBACKED, KPF_COMPOUND_TAIL = 1 << 12, 1 << 14, 1 << 16
KPF_THP, KPF_ZERO_PAGE = 1 << 22, 1 << 24
KPF_ANON_EXCLUSIVE = 1 << 34
"""KPF_MAPPEDTODISK (KPF_OWNER_2 in later kernels), which for an anonymous page is
PG_anon_exclusive."""


@dataclass(frozen=True)
class Entry:
    """What one address maps.

    `kind` is ``none``, ``page`` (anonymous), ``zero`` (the shared zeropage),
    ``swap`` (a swap or migration entry) or ``other``. The rest is about pages.
    `exclusive` is ``None`` where the bit of the page cannot be seen; `huge` says that
    a PMD maps the page; `swapbacked` that reclaim may not just drop it.
    """

    kind: str
    pfn: int = 0
    exclusive: bool | None = False
    mapcount: int = 0
    huge: bool = False
    swapbacked: bool = False


class Pages:
    """The open files; close it, or use it with ``with``.

    Args:
        values_only: tell no more than whether something is mapped, which everybody
            may know of his own processes.

    Attributes:
        scan: whether to look for huge PMDs.
    """

    def __init__(self, *, values_only: bool = False) -> None:
        self.scan = False
        self.values_only = values_only
        self.files: list[int] = []
        if not self.values_only:
            try:
                for name in ("/proc/kpageflags", "/proc/kpagecount"):
                    self.files.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                self.close()
                raise

    @property
    def sees(self) -> str:
        """``values`` or ``pages``: how much an entry tells."""
        return "values" if self.values_only else "pages"

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            os.close(file)

    def entry(self, pagemap: int, address: int) -> Entry:
        """What `address` maps in the process whose pagemap file is open."""
        bits = _u64(pagemap, address // PAGE_SIZE)
        if bits & PM_SWAP:
            return Entry("swap")
        if not bits & PM_PRESENT:
            return Entry("none")
        if self.values_only:
            return Entry("page")
        return self.page(bits & PM_PFRAME, pagemap, address)

    def page(self, pfn: int, pagemap: int, address: int) -> Entry:
        """What is known of a page frame that is mapped at `address`."""
        flags_file, counts_file = self.files
        flags = _u64(flags_file, pfn)
        if flags & KPF_ZERO_PAGE:
            return Entry("zero")
        if not flags & KPF_ANON:
            return Entry("other", pfn)
        huge = self.scan and bool(flags & KPF_THP) and is_huge(pagemap, address)
        if huge:
            flags = self._head_flags(pfn)
        hidden = flags & KPF_COMPOUND_TAIL and not huge
        exclusive = None if hidden else bool(flags & KPF_ANON_EXCLUSIVE)
        swapbacked = bool(flags & KPF_SWAPBACKED)
        count = _u64(counts_file, pfn)
        return Entry("page", pfn, exclusive, count, huge, swapbacked)

    def _head_flags(self, pfn: int) -> int:
        """The flags of the head: what a PMD maps has one bit, which is there."""
        while (flags := _u64(self.files[0], pfn)) & KPF_COMPOUND_TAIL:
            pfn -= 1
        return flags


def is_huge(pagemap: int, address: int) -> bool:
    """Whether a PMD maps the page at `address`."""
    found = ctypes.create_string_buffer(24)
    argument = struct.pack(
        "=12Q",
        *(96, 0, address, address + PAGE_SIZE, 0, ctypes.addressof(found), 1, 0),
        *(0, PAGE_IS_HUGE, 0, PAGE_IS_HUGE),
    )
    try:
        return bool(fcntl.ioctl(pagemap, PAGEMAP_SCAN, bytearray(argument)))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):
            raise
    return in_smaps(pagemap, address)


def in_smaps(pagemap: int, address: int) -> bool:
    """The same before 6.7: whether the VMA of `address` has any huge PMD.

    Programs have one huge page at most, and a VMA that reaches beyond it holds no
    other.
    """
    process = Path(os.readlink(f"/proc/self/fd/{pagemap}")).parent
    inside = False
    for row in (process / "smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", row):
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and row.startswith("AnonHugePages:"):
            return int(row.split()[1]) > 0
    return False


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
    """Why this machine's kernel cannot be driven, in one line; ``None`` if it can."""
    system, machine = platform.system(), platform.machine()
    if system != "Linux":
        return f"this is {system}; the driver makes system calls of Linux"
    if machine not in NUMBERS:
        return f"the driver knows {' and '.join(NUMBERS)}, this is {machine}"
    return None


def not_visible() -> str | None:
    """Why pages cannot be observed here, in one line; ``None`` if they can.

    The last test is the thing itself: a page just written must show the bit, where
    the kernel has it (5.19).
    """
    try:
        entry = _fresh_page()
    except OSError as error:
        return f"{error.filename}: {error.strerror}; observing pages needs root"
    if entry is None:
        return "/proc/self/pagemap hides page frame numbers; needs CAP_SYS_ADMIN"
    if entry.kind == "page" and (entry.exclusive or release() < FIRST_WITH_BIT):
        return None
    return f"Linux {platform.release()} does not show the bit in /proc/kpageflags"


def _fresh_page() -> Entry | None:
    """A page just written; ``None`` if it cannot be told which it is."""
    with Pages() as pages:
        pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        address = map_page()
        try:
            ctypes.memset(address, 1, 1)
            entry = pages.entry(pagemap, address)
        finally:
            munmap(address)
            os.close(pagemap)
    return entry if entry.pfn else None
