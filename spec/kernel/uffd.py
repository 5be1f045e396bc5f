"""userfaultfd(2): faults that wait for us, write protection, moving pages."""

from __future__ import annotations

import fcntl
import os
import select
import struct

from spec.kernel.syscalls import PAGE_SIZE, number_of, syscall

# linux/userfaultfd.h
UFFD_API = 0xAA
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_UNREGISTER = 0xC018AA3F, 0xC020AA00, 0x8010AA01
UFFDIO_ZEROPAGE, UFFDIO_WRITEPROTECT, UFFDIO_MOVE = 0xC020AA04, 0xC018AA06, 0xC028AA05
UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP = 1, 2
UFFDIO_WRITEPROTECT_MODE_WP = 1
UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFD_FEATURE_WP_ASYNC = 1 << 0, 1 << 15
UFFD_MSG_SIZE = 32
UFFD_EVENT_PAGEFAULT = 0x12


class Uffd:
    """A userfaultfd of the calling process; close it.

    Args:
        features: ``UFFD_FEATURE_*`` that it needs.

    Raises:
        OSError: the kernel has not got it, or does not allow it here.
    """

    def __init__(self, features: int = 0) -> None:
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        self.fd = syscall("userfaultfd", number_of("userfaultfd"), flags)
        try:
            self._ioctl(UFFDIO_API, struct.pack("=QQQ", UFFD_API, features, 0))
        except OSError:
            self.close()
            raise

    def register(self, address: int, length: int, mode: int) -> None:
        """Have faults of the kind `mode` in a range."""
        range_ = struct.pack("=QQQQ", address, length, mode, 0)
        self._ioctl(UFFDIO_REGISTER, range_)

    def unregister(self, address: int, length: int) -> None:
        """Leave the faults of a range to the kernel again; ends its protection."""
        self._ioctl(UFFDIO_UNREGISTER, struct.pack("=QQ", address, length))

    def zeropage(self, address: int, length: int) -> None:
        """Answer a missing fault with the zeropage."""
        self._ioctl(UFFDIO_ZEROPAGE, struct.pack("=QQQq", address, length, 0, 0))

    def write_protect(self, address: int, length: int, mode: int) -> None:
        """Set (`UFFDIO_WRITEPROTECT_MODE_WP`) or lift (0) write protection."""
        range_ = struct.pack("=QQQ", address, length, mode)
        self._ioctl(UFFDIO_WRITEPROTECT, range_)

    def lift_protection(self) -> None:
        """Let every write to a protected page go on, unprotected; does not return.

        The kernel does that by itself where it has `UFFD_FEATURE_WP_ASYNC`.
        """
        while True:
            select.select([self.fd], [], [])
            message = os.read(self.fd, UFFD_MSG_SIZE)
            event, _, address = struct.unpack_from("=B7xQQ", message)
            if event == UFFD_EVENT_PAGEFAULT:
                self.write_protect(address // PAGE_SIZE * PAGE_SIZE, PAGE_SIZE, 0)

    def move(self, target: int, source: int, length: int) -> None:
        """Move pages to where nothing is mapped.

        Raises:
            OSError: not even the first could be moved.
        """
        argument = bytearray(struct.pack("=QQQQq", target, source, length, 0, 0))
        try:
            fcntl.ioctl(self.fd, UFFDIO_MOVE, argument)
        except OSError:
            if struct.unpack("=QQQQq", argument)[4] <= 0:
                raise

    def _ioctl(self, request: int, argument: bytes) -> None:
        fcntl.ioctl(self.fd, request, bytearray(argument))

    def close(self) -> None:
        """Close it; what is registered is registered no more."""
        os.close(self.fd)
