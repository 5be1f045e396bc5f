"""The system calls that the driver makes, and constants named as in the headers.

What Python's standard library has is used from there; this is the rest.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

# asm-generic/mman-common.h and linux/mman.h
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 0x02, 0x20, 0x100000
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
MADV_NORMAL, MADV_DONTNEED, MADV_FREE = 0, 4, 8
MADV_HUGEPAGE, MADV_NOHUGEPAGE = 14, 15
MADV_UNMERGEABLE, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE = 13, 20, 21, 25
MAP_FAILED = ctypes.c_void_p(-1).value

# linux/prctl.h, linux/futex.h
PR_SET_CHILD_SUBREAPER = 36
FUTEX_WAKE = 1

# asm/unistd_64.h and asm-generic/unistd.h
NUMBERS = {
    "x86_64": {
        "futex": 202,
        "move_pages": 279,
        "userfaultfd": 323,
        "io_setup": 206,
        "io_getevents": 208,
        "io_submit": 209,
    },
    "aarch64": {
        "futex": 98,
        "move_pages": 239,
        "userfaultfd": 282,
        "io_setup": 0,
        "io_getevents": 4,
        "io_submit": 2,
    },
}
"""System calls without a wrapper in libc whose numbers differ by architecture."""
SYS_IO_URING_SETUP, SYS_IO_URING_ENTER, SYS_IO_URING_REGISTER = 425, 426, 427

libc = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("iov_base", ctypes.c_void_p), ("iov_len", ctypes.c_size_t))


def _declare() -> None:
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    vector, count = ctypes.POINTER(Iovec), ctypes.c_ulong
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    libc.munmap.argtypes = [pointer, size]
    libc.mprotect.argtypes = [pointer, size, number]
    libc.madvise.argtypes = [pointer, size, number]
    libc.mremap.restype = pointer
    libc.mremap.argtypes = [pointer, size, size, number, pointer]
    libc.read.argtypes = libc.write.argtypes = [number, pointer, size]
    libc.read.restype = libc.write.restype = ctypes.c_ssize_t
    libc.vmsplice.argtypes = [number, vector, count, ctypes.c_uint]
    libc.vmsplice.restype = ctypes.c_ssize_t
    libc.tee.argtypes = [number, number, size, ctypes.c_uint]
    libc.tee.restype = ctypes.c_ssize_t
    libc.process_vm_readv.argtypes = [number, vector, count, vector, count, count]
    libc.process_vm_readv.restype = ctypes.c_ssize_t
    libc.process_vm_writev.argtypes = libc.process_vm_readv.argtypes
    libc.process_vm_writev.restype = ctypes.c_ssize_t
    libc.syscall.restype = ctypes.c_long


_declare()


def check(result: int | None, name: str) -> int:
    """`result`, or what errno says if the system call `name` failed.

    Raises:
        OSError: with `name` as its file name.
    """
    if result is None or result in (-1, MAP_FAILED):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def syscall(name: str, number: int, *arguments: object) -> int:
    """A system call by number; integers are passed as ``long``."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return check(libc.syscall(ctypes.c_long(number), *passed), name)


def number_of(name: str) -> int:
    """The number of a system call on this architecture.

    Raises:
        KeyError: `NUMBERS` does not have this architecture.
    """
    return NUMBERS[platform.machine()][name]


def map_page(address: int | None = None, pages: int = 1) -> int:
    """Map private anonymous memory, no huge pages for now; returns its address.

    Args:
        address: where; by default the kernel chooses.
        pages: how many.
    """
    flags = MAP_PRIVATE | MAP_ANONYMOUS
    flags |= MAP_FIXED_NOREPLACE if address is not None else 0
    length = pages * PAGE_SIZE
    found = libc.mmap(address, length, PROT_READ | PROT_WRITE, flags, -1, 0)
    at = check(found, "mmap")
    madvise(at, length, MADV_NOHUGEPAGE)
    return at


def madvise(address: int, length: int, advice: int) -> None:
    """``madvise(2)``."""
    check(libc.madvise(address, length, advice), "madvise")


def is_mapped(address: int) -> bool:
    """Whether there is a mapping of a page: advice about nothing gives ENOMEM."""
    found: int = libc.madvise(address, PAGE_SIZE, MADV_NORMAL)
    return found == 0


def munmap(address: int, pages: int = 1) -> None:
    """``munmap(2)``."""
    check(libc.munmap(address, pages * PAGE_SIZE), "munmap")


def mprotect(address: int, writable: bool, pages: int = 1) -> None:
    """``mprotect(2)``, to R/O or R/W."""
    protection = PROT_READ | PROT_WRITE if writable else PROT_READ
    check(libc.mprotect(address, pages * PAGE_SIZE, protection), "mprotect")


def protect_none(address: int) -> None:
    """``mprotect(2)`` of one page, to PROT_NONE."""
    check(libc.mprotect(address, PAGE_SIZE, PROT_NONE), "mprotect")


def mremap(source: int, target: int, pages: int = 1) -> None:
    """``mremap(2)``: move a mapping to `target`, in place of what is there."""
    length = pages * PAGE_SIZE
    flags = MREMAP_MAYMOVE | MREMAP_FIXED
    check(libc.mremap(source, length, length, flags, target), "mremap")


def vmsplice(pipe: int, address: int) -> None:
    """Put the page at `address` into a pipe: GUP-fast with FOLL_GET, R/O."""
    page = Iovec(address, PAGE_SIZE)
    check(libc.vmsplice(pipe, ctypes.byref(page), 1, 0), "vmsplice")


def tee(source: int, target: int) -> None:
    """Put the page at the head of pipe `source` into `target` as well."""
    check(libc.tee(source, target, PAGE_SIZE, 0), "tee")


def process_vm_readv(pid: int, source: int, targets: Sequence[int]) -> int:
    """Read consecutive bytes from `source` in `pid`, one to each of `targets`.

    The source page is pinned (FOLL_PIN, R/O) from before the first byte until
    after the last.
    """
    local = (Iovec * len(targets))(*(Iovec(target, 1) for target in targets))
    remote = Iovec(source, len(targets))
    copied = libc.process_vm_readv(pid, local, len(targets), ctypes.byref(remote), 1, 0)
    return check(copied, "process_vm_readv")


def process_vm_writev(pid: int, target: int, content: bytes) -> None:
    """Write to the memory of `pid`: FOLL_PIN|FOLL_WRITE for the time of the call."""
    source = ctypes.create_string_buffer(content, len(content))
    local = Iovec(ctypes.addressof(source), len(content))
    remote = Iovec(target, len(content))
    arguments = (ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    check(libc.process_vm_writev(pid, *arguments), "process_vm_writev")


def futex_wake_shared(address: int) -> None:
    """Wake nobody: takes and drops FOLL_GET|FOLL_WRITE (``get_futex_key``)."""
    syscall("futex", number_of("futex"), address, FUTEX_WAKE, 0, 0, 0, 0)


def swapoff(path: str) -> None:
    """``swapoff(2)``: swap in all that is there."""
    check(libc.swapoff(os.fsencode(path)), "swapoff")


def swapon(path: str) -> None:
    """``swapon(2)`` of what was on before."""
    check(libc.swapon(os.fsencode(path), 0), "swapon")


def become_subreaper() -> None:
    """Orphaned descendants of this process become its children, not init's."""
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
