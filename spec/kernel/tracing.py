"""ptrace(2): reading and writing the memory of a worker as a debugger does.

Both take FOLL_GET|FOLL_FORCE for the time of the call (``access_process_vm``).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from spec.kernel.syscalls import PAGE_SIZE, check, libc

# linux/ptrace.h
PTRACE_PEEKDATA, PTRACE_POKEDATA, PTRACE_DETACH = 2, 5, 17
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WORD = ctypes.sizeof(ctypes.c_long)

libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


def peek(pid: int, address: int) -> int:
    """The byte at `address` of a process.

    Raises:
        OSError: EIO: nothing can be read there.
    """
    with stopped(pid):
        ctypes.set_errno(0)
        word = libc.ptrace(PTRACE_PEEKDATA, pid, address, None)
        if word == -1 and ctypes.get_errno():
            check(-1, "ptrace")
    return int(word) & 0xFF


def poke(pid: int, address: int, value: int) -> None:
    """Fill the page at `address` of a process, a word each time.

    Raises:
        OSError: EIO: nothing can be written there.
    """
    word = int.from_bytes(bytes([value]) * WORD, "little")
    with stopped(pid):
        for at in range(address, address + PAGE_SIZE, WORD):
            check(libc.ptrace(PTRACE_POKEDATA, pid, at, word), "ptrace")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process is traced and stands still; what it waits for goes on afterwards."""
    check(libc.ptrace(PTRACE_SEIZE, pid, None, None), "ptrace")
    try:
        check(libc.ptrace(PTRACE_INTERRUPT, pid, None, None), "ptrace")
        os.waitpid(pid, 0)
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, pid, None, None)
