"""A R/O FOLL_PIN that is held for as long as the driver wants.

process_vm_readv(2) pins the source page, drops mmap_lock, copies, unpins. The
targets lie in memory whose faults userfaultfd(2) hands to the driver, one page
for each byte: the copy stops before every byte, with the source pinned. Letting
one byte through shows what the page holds at that moment.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import struct
import threading

from spec.kernel.syscalls import (
    PAGE_SIZE,
    map_page,
    munmap,
    number_of,
    process_vm_readv,
    syscall,
)

# linux/userfaultfd.h
UFFD_API = 0xAA
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_UNREGISTER = 0xC018AA3F, 0xC020AA00, 0x8010AA01
UFFDIO_ZEROPAGE = 0xC020AA04
UFFDIO_REGISTER_MODE_MISSING = 1
UFFD_MSG_SIZE = 32
PATIENCE = 20.0
"""Seconds until the driver gives up on a system call."""


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
        self.pages = looks + 1
        self.looked = 0
        self.errors: list[OSError] = []
        self.done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.memory = map_page(pages=self.pages)
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        self.uffd = -1
        try:
            self.uffd = syscall("userfaultfd", number_of("userfaultfd"), flags)
            self._ioctl(UFFDIO_API, struct.pack("=QQQ", UFFD_API, 0, 0))
            mode = UFFDIO_REGISTER_MODE_MISSING
            self._ioctl(UFFDIO_REGISTER, self._range() + struct.pack("=QQ", mode, 0))
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
        target = self.memory + self.looked * PAGE_SIZE
        self.looked += 1
        if self.looked == self.pages:
            raise OSError(errno.ENOBUFS, "more looks than were announced", "pin")
        page = struct.pack("=QQQq", target, PAGE_SIZE, 0, 0)
        self._ioctl(UFFDIO_ZEROPAGE, page)
        self._wait()
        return ctypes.c_ubyte.from_address(target).value

    def put(self) -> None:
        """Let the copy end and with it the pin; everything is freed."""
        self._ioctl(UFFDIO_UNREGISTER, self._range())
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
        ready, _, _ = select.select([self.uffd, self.done], [], [], PATIENCE)
        if not ready:
            raise OSError(errno.ETIMEDOUT, "does not get on", "process_vm_readv")
        if self.uffd in ready:
            os.read(self.uffd, UFFD_MSG_SIZE)

    def _range(self) -> bytes:
        return struct.pack("=QQ", self.memory, self.pages * PAGE_SIZE)

    def _ioctl(self, request: int, argument: bytes) -> None:
        fcntl.ioctl(self.uffd, request, bytearray(argument))

    def _free(self) -> None:
        munmap(self.memory, self.pages)
        os.close(self.done)
        if self.uffd >= 0:
            os.close(self.uffd)
