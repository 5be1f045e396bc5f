"""A R/O FOLL_PIN that is held for as long as the driver wants.

process_vm_readv(2) pins the source page, drops mmap_lock, copies, unpins. The
targets lie in memory whose faults userfaultfd(2) hands to the driver, one page
for each byte: the copy stops before every byte, with the source pinned. Letting
bytes through shows what the page holds at that moment.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import threading

from spec.kernel.syscalls import PAGE_SIZE, map_page, munmap, process_vm_readv
from spec.kernel.uffd import UFFD_MSG_SIZE, UFFDIO_REGISTER_MODE_MISSING, Uffd

PATIENCE = 20.0
"""Seconds until the driver gives up on a system call."""
BYTES = 2
"""So many are let through for a look. Where the copy moves a byte by way of a register,
the one that it stopped at was loaded before; the next one is loaded now."""


class HeldPin:
    """One pinned page of another process.

    Args:
        pid: the process.
        address: the address of the page in it; it is read from there on.
        looks: how often `look` will be called at most.

    Raises:
        OSError: the page cannot be pinned (EFAULT), or userfaultfd is refused.
    """

    def __init__(self, pid: int, address: int, looks: int) -> None:
        self.pages = looks * BYTES + 1
        self.looked = 0
        self.errors: list[OSError] = []
        self.uffd = Uffd()
        self.done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.memory = map_page(pages=self.pages)
        length = self.pages * PAGE_SIZE
        try:
            self.uffd.register(self.memory, length, UFFDIO_REGISTER_MODE_MISSING)
        except OSError:
            self._free()
            raise
        targets = [self.memory + i * PAGE_SIZE for i in range(self.pages)]
        arguments = (pid, address, targets)
        self.thread = threading.Thread(target=self._copy, args=arguments, daemon=True)
        self.thread.start()
        self._wait()
        if self.errors:
            self.thread.join()
            self._free()
            raise self.errors[0]

    def look(self) -> int:
        """What the pinned page holds now (one byte)."""
        if self.looked + BYTES >= self.pages:
            raise OSError(errno.ENOBUFS, "more looks than were announced", "pin")
        for _ in range(BYTES):
            target = self.memory + self.looked * PAGE_SIZE
            self.looked += 1
            self.uffd.zeropage(target, PAGE_SIZE)
            self._wait()
        return ctypes.c_ubyte.from_address(target).value

    def put(self) -> None:
        """Let the copy end and with it the pin; everything is freed."""
        self.uffd.unregister(self.memory, self.pages * PAGE_SIZE)
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            raise OSError(errno.ETIMEDOUT, "does not return", "process_vm_readv")
        self._free()

    def _copy(self, pid: int, address: int, targets: list[int]) -> None:
        try:
            process_vm_readv(pid, address, targets)
        except OSError as error:
            self.errors.append(error)
        os.eventfd_write(self.done, 1)

    def _wait(self) -> None:
        """Wait until the copy stops at the next byte, or ends."""
        ready, _, _ = select.select([self.uffd.fd, self.done], [], [], PATIENCE)
        if not ready:
            raise OSError(errno.ETIMEDOUT, "does not get on", "process_vm_readv")
        if self.uffd.fd in ready:
            os.read(self.uffd.fd, UFFD_MSG_SIZE)

    def _free(self) -> None:
        munmap(self.memory, self.pages)
        os.close(self.done)
        self.uffd.close()
