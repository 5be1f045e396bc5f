"""O_DIRECT reads that stand still: how a FOLL_GET|FOLL_WRITE reference is kept.

Until 6.2 such a read takes pages with FOLL_GET. Here it reads a device-mapper device
over a RAM disk which is suspended: when io_submit(2) returns, the page is taken and
the I/O waits. To resume the device has it write to the page; where an error target
comes first, it lets go of the page without writing.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path

from spec.kernel.abilities import store
from spec.kernel.syscalls import PAGE_SIZE, number_of, syscall

RAM_DISK = Path("/dev/ram0")
CONTROL = Path("/dev/mapper/control")
SECTOR = 512
# linux/dm-ioctl.h
DM_DEV_CREATE, DM_DEV_REMOVE, DM_DEV_SUSPEND, DM_TABLE_LOAD = 3, 4, 6, 9
DM_SUSPEND_FLAG, DM_DEFERRED_REMOVE = 1 << 1, 1 << 17
DM_VERSION = (4, 0, 0)
DM_IOCTL = struct.Struct("=3IIIIiIIIQ128s129s7x")
DM_TARGET_SPEC = struct.Struct("=QQiI16s")
# linux/aio_abi.h
IOCB = struct.Struct("=QIIHhIQQqQII")
IOCB_CMD_PREAD = 0
IO_EVENT = struct.Struct("=QQqq")


class Standstill:
    """A disk of one page whose I/O waits; close it.

    Raises:
        OSError: there is no device mapper or no RAM disk; or they are not ours.
    """

    def __init__(self, name: str) -> None:
        self.name = f"standstill-{name}"
        self.control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            device = self._ioctl(DM_DEV_CREATE)
            self._load("linear", f"{RAM_DISK} 0")
            self._ioctl(DM_DEV_SUSPEND)
            self.file = os.open(f"/dev/dm-{device & 0xFF}", os.O_RDONLY | os.O_DIRECT)
            self._ioctl(DM_DEV_SUSPEND, DM_SUSPEND_FLAG)
        except OSError:
            os.close(self.control)
            raise
        self.waits = True

    def write(self, value: int) -> None:
        """Let the I/O go on: it writes `value` all over the page."""
        disk = os.open(RAM_DISK, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
        try:
            store(disk, value)
        finally:
            os.close(disk)
        self._resume()

    def fail(self) -> None:
        """Let the I/O fail: it writes nothing."""
        self._load("error", "")
        self._resume()

    def _resume(self) -> None:
        self._ioctl(DM_DEV_SUSPEND)
        self.waits = False

    def close(self) -> None:
        """End what still waits, and remove the disk once nobody has it open."""
        if self.waits:
            self.fail()
        os.close(self.file)
        self._ioctl(DM_DEV_REMOVE, DM_DEFERRED_REMOVE)
        os.close(self.control)

    def _load(self, target: str, parameters: str) -> None:
        """The table that the next resume puts in place: one target for all sectors."""
        text = parameters.encode() + b"\0"
        text += b"\0" * (-len(text) % 8)
        length = DM_TARGET_SPEC.size + len(text)
        spec = (0, PAGE_SIZE // SECTOR, 0, length, target.encode())
        self._ioctl(DM_TABLE_LOAD, table=DM_TARGET_SPEC.pack(*spec) + text)

    def _ioctl(self, command: int, flags: int = 0, table: bytes = b"") -> int:
        """One ioctl on this device; returns its device number."""
        size = DM_IOCTL.size + len(table)
        head = (*DM_VERSION, size, DM_IOCTL.size, bool(table), 0, flags, 0, 0, 0)
        argument = bytearray(DM_IOCTL.pack(*head, self.name.encode(), b"") + table)
        request = 3 << 30 | DM_IOCTL.size << 16 | 0xFD << 8 | command
        fcntl.ioctl(self.control, request, argument)
        device: int = DM_IOCTL.unpack_from(argument)[10]
        return device


class PendingRead:
    """An asynchronous read of the calling process (``io_submit``).

    Args:
        file: what is read; one page.
        address: to where.

    Raises:
        OSError: it fails at once; EFAULT: nothing can be written there.
    """

    def __init__(self, file: int, address: int) -> None:
        self.context = ctypes.c_ulong(0)
        setup = number_of("io_setup")
        syscall("io_setup", setup, 1, ctypes.byref(self.context))
        fields = (0, 0, 0, IOCB_CMD_PREAD, 0, file, address, PAGE_SIZE, 0, 0, 0, 0)
        block = ctypes.create_string_buffer(IOCB.pack(*fields))
        blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        submit = number_of("io_submit")
        syscall("io_submit", submit, self.context.value, 1, blocks)
        result = self._result(at_least=0)
        if result is not None:
            raise OSError(-result, os.strerror(-result), "io_submit")

    def wait(self) -> None:
        """Until it is done, well or not."""
        self._result(at_least=1)

    def _result(self, at_least: int) -> int | None:
        """What the read came to, if it is done (``io_getevents``)."""
        event = ctypes.create_string_buffer(IO_EVENT.size)
        number = number_of("io_getevents")
        context = self.context.value
        if not syscall("io_getevents", number, context, at_least, 1, event, 0):
            return None
        result: int = IO_EVENT.unpack(event.raw)[2]
        return result
