"""io_uring with one fixed buffer: a R/W FOLL_PIN|FOLL_LONGTERM reference.

The ring is submitted to by the driver; the buffer is registered by the process
whose memory it is. WRITE_FIXED into a pipe shows what the device would read,
READ_FIXED from a pipe is the device writing.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from spec.kernel.syscalls import (
    PAGE_SIZE,
    SYS_IO_URING_ENTER,
    SYS_IO_URING_REGISTER,
    SYS_IO_URING_SETUP,
    Iovec,
    syscall,
)

# linux/io_uring.h
IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES = 0, 0x8000000, 0x10000000
IORING_REGISTER_BUFFERS, IORING_UNREGISTER_BUFFERS = 0, 1
IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED = 4, 5
IORING_ENTER_GETEVENTS = 1
SQE = struct.Struct("<BBHiQQIIQHHiQQ")
CQE = struct.Struct("<QiI")


class _Offsets(ctypes.Structure):
    """``struct io_sqring_offsets``, ``struct io_cqring_offsets``: one shape."""

    _fields_ = (
        ("head", ctypes.c_uint32),
        ("tail", ctypes.c_uint32),
        ("ring_mask", ctypes.c_uint32),
        ("ring_entries", ctypes.c_uint32),
        ("flags_or_overflow", ctypes.c_uint32),
        ("dropped_or_cqes", ctypes.c_uint32),
        ("array_or_flags", ctypes.c_uint32),
        ("resv1", ctypes.c_uint32),
        ("user_addr", ctypes.c_uint64),
    )


class _Params(ctypes.Structure):
    """``struct io_uring_params``."""

    _fields_ = (
        ("sq_entries", ctypes.c_uint32),
        ("cq_entries", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("sq_thread_cpu", ctypes.c_uint32),
        ("sq_thread_idle", ctypes.c_uint32),
        ("features", ctypes.c_uint32),
        ("wq_fd", ctypes.c_uint32),
        ("resv", ctypes.c_uint32 * 3),
        ("sq_off", _Offsets),
        ("cq_off", _Offsets),
    )


class Ring:
    """One io_uring with room for one fixed buffer of a page.

    Raises:
        OSError: the kernel has no io_uring, or does not allow it here.
    """

    def __init__(self) -> None:
        params = _Params()
        self.fd = syscall("io_uring_setup", SYS_IO_URING_SETUP, 1, ctypes.byref(params))
        self.sq, self.cq = params.sq_off, params.cq_off
        sizes = (
            (IORING_OFF_SQ_RING, self.sq.array_or_flags + params.sq_entries * 4),
            (
                IORING_OFF_CQ_RING,
                self.cq.dropped_or_cqes + params.cq_entries * CQE.size,
            ),
            (IORING_OFF_SQES, params.sq_entries * SQE.size),
        )
        self.maps: list[mmap.mmap] = []
        try:
            for offset, size in sizes:
                self.maps.append(mmap.mmap(self.fd, size, offset=offset))
        except OSError:
            self.close()
            raise
        self.sq_ring, self.cq_ring, self.sqes = self.maps

    def register(self, address: int) -> None:
        """Pin the page at `address` of the calling process."""
        buffer = Iovec(address, PAGE_SIZE)
        syscall(
            "io_uring_register",
            SYS_IO_URING_REGISTER,
            self.fd,
            IORING_REGISTER_BUFFERS,
            ctypes.byref(buffer),
            1,
        )

    def unregister(self) -> None:
        """Unpin the page."""
        syscall(
            "io_uring_register",
            SYS_IO_URING_REGISTER,
            self.fd,
            IORING_UNREGISTER_BUFFERS,
            0,
            0,
        )

    def transfer(self, opcode: int, pipe: int, address: int, length: int) -> None:
        """One READ_FIXED or WRITE_FIXED between a pipe and the pinned page."""
        tail = _u32(self.sq_ring, self.sq.tail)
        slot = tail & _u32(self.sq_ring, self.sq.ring_mask)
        SQE.pack_into(
            self.sqes,
            slot * SQE.size,
            *(opcode, 0, 0, pipe, 0, address, length, 0, 0, 0, 0, 0, 0, 0),
        )
        struct.pack_into("=I", self.sq_ring, self.sq.array_or_flags + slot * 4, slot)
        struct.pack_into("=I", self.sq_ring, self.sq.tail, tail + 1)
        syscall(
            "io_uring_enter",
            SYS_IO_URING_ENTER,
            self.fd,
            *(1, 1, IORING_ENTER_GETEVENTS, 0, 0),
        )
        head = _u32(self.cq_ring, self.cq.head)
        slot = head & _u32(self.cq_ring, self.cq.ring_mask)
        at = self.cq.dropped_or_cqes + slot * CQE.size
        _, result, _ = CQE.unpack_from(self.cq_ring, at)
        struct.pack_into("=I", self.cq_ring, self.cq.head, head + 1)
        if result != length:
            raise OSError(max(-result, 0), os.strerror(max(-result, 0)), "io_uring")

    def close(self) -> None:
        """Close the ring; a buffer that is still registered is unpinned."""
        for mapped in self.maps:
            mapped.close()
        os.close(self.fd)


def _u32(memory: mmap.mmap, offset: int) -> int:
    value: int = struct.unpack_from("=I", memory, offset)[0]
    return value
