"""References as their holders see them: pipes, rings, copies that stand still."""

from __future__ import annotations

import os
from contextlib import ExitStack

from spec.kernel import syscalls
from spec.kernel.inflight import Standstill
from spec.kernel.pagemap import Entry
from spec.kernel.pin import HeldPin
from spec.kernel.process import Process
from spec.kernel.ring import IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, Ring
from spec.kernel.syscalls import PAGE_SIZE

VMSPLICE, IO_URING = "vmsplice", "io_uring_register"
READV, FUTEX = "process_vm_readv", "futex"
IO_SUBMIT = "io_submit"
"""How a reference is taken and kept; with futex(2) it is gone on return, with
io_submit(2) once its holder has written."""


class Reference:
    """One reference; what it is taken with exists from the start.

    Args:
        name: what it is called.
        how: the system call that takes it.
        ring: for `IO_URING`.
        aside: a pipe through which its holder looks and writes.
        stack: closes what is opened.

    Attributes:
        pipe: for `VMSPLICE`.
        live: whether it is held.
        page: what was mapped when it was taken.
        address: where it was taken.
        disk: for `IO_SUBMIT`.
        owner: the process for which it was taken.
    """

    def __init__(
        self,
        name: str,
        how: str,
        ring: Ring | None,
        aside: tuple[int, int],
        stack: ExitStack,
    ) -> None:
        self.name = name
        self.how = how
        self.ring = ring
        self.aside = aside
        self.stack = stack
        self.pipe = pipe(stack) if how == VMSPLICE else (-1, -1)
        self.live = False
        self.page: Entry | None = None
        self.address = 0
        self.pin: HeldPin | None = None
        self.disk: Standstill | None = None
        self.owner: Process | None = None

    def hold(self, pid: int, looks: int) -> None:
        """Have process_vm_readv(2) pin a page and stand still.

        Raises:
            OSError: it cannot be pinned, or userfaultfd is refused.
        """
        self.pin = HeldPin(pid, self.address, looks)
        self.stack.callback(self.let_go)

    def let_go(self) -> None:
        """End a held process_vm_readv(2)."""
        if self.pin is not None:
            pin, self.pin = self.pin, None
            pin.put()

    def put(self) -> None:
        """Let go of the page."""
        self.live = False
        if self.disk is not None:
            self.disk.fail()
            self.await_disk()
        elif self.how == VMSPLICE:
            os.read(self.pipe[0], PAGE_SIZE)
        elif self.ring is not None:
            self.ring.unregister()
        else:
            self.let_go()

    def write(self, value: int) -> None:
        """The device writes."""
        if self.disk is not None:
            self.live = False
            self.disk.write(value)
            self.await_disk()
            return
        assert self.ring is not None
        reader, writer = self.aside
        os.write(writer, bytes([value]) * PAGE_SIZE)
        self.ring.transfer(IORING_OP_READ_FIXED, reader, self.address, PAGE_SIZE)

    def await_disk(self) -> None:
        """Until what was in flight has come to its end."""
        assert self.owner is not None
        self.owner.call({"word": "io_getevents", "reference": self.name})

    def look(self) -> int | None:
        """What the holder sees in the page, without letting go; ``None``: unknown."""
        reader, writer = self.aside
        if self.disk is not None:
            return None
        if self.pin is not None:
            return self.pin.look()
        if self.ring is None:
            syscalls.tee(self.pipe[0], writer)
            return os.read(reader, PAGE_SIZE)[0]
        self.ring.transfer(IORING_OP_WRITE_FIXED, writer, self.address, 1)
        return os.read(reader, 1)[0]


def pipe(stack: ExitStack) -> tuple[int, int]:
    """A pipe that `stack` closes."""
    made = os.pipe()
    for end in made:
        stack.callback(os.close, end)
    return made
