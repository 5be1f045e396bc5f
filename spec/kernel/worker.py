"""A process of a litmus program: it does what it is told, one call at a time.

A worker forks when it is told to; the child takes up its own socket. Both live
in copies of one address space, which is the point.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
from dataclasses import dataclass
from typing import Any, NoReturn

from spec.kernel import syscalls
from spec.kernel.ring import Ring
from spec.kernel.syscalls import PAGE_SIZE

BASE = 1 << 36
STRIDE = 1 << 20
"""Where the addresses lie: away from all that the kernel places by itself, so that
nothing else is ever mapped into the hole that munmap leaves."""


@dataclass
class Resources:
    """What exists before the first process: all workers inherit it."""

    sockets: dict[str, tuple[socket.socket, socket.socket]]
    pipes: dict[str, tuple[int, int]]
    rings: dict[str, Ring]
    addresses: dict[str, int]


class Worker:
    """One process. `serve` does not return.

    Args:
        name: the process of the litmus program that this one is.
        resources: what the driver has made.
    """

    def __init__(self, name: str, resources: Resources) -> None:
        self.name = name
        self.resources = resources
        self.protection = dict.fromkeys(resources.addresses, "rw")
        for driver, _ in resources.sockets.values():
            driver.close()
        for address in resources.addresses.values():
            syscalls.map_page(address)

    def serve(self) -> NoReturn:
        """Answer calls until told to exit, or until the driver is gone."""
        while True:
            _, own = self.resources.sockets[self.name]
            own.send(json.dumps({"pid": os.getpid()}).encode())
            while request := own.recv(4096):
                call = json.loads(request)
                answer = self.answer(call)
                if self.resources.sockets[self.name][1] is not own:
                    break
                own.send(json.dumps(answer).encode())
                if call["word"] == "exit":
                    os._exit(0)
            else:
                os._exit(0)

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """Make one call; what it gave, or the name of its errno."""
        try:
            value = getattr(self, f"do_{call['word']}")(call)
        except OSError as error:
            number = error.errno or 0
            return {"errno": errno.errorcode.get(number, str(number))}
        return {"value": value}

    def address(self, call: dict[str, Any]) -> int:
        """Where the address that the call names lies."""
        return self.resources.addresses[call["address"]]

    def do_write(self, call: dict[str, Any]) -> None:
        """Fill the page, so that any of its bytes shows the value."""
        address = self.address(call)
        if self.protection[call["address"]] == "rw":
            ctypes.memset(address, call["value"], PAGE_SIZE)
        else:
            refused_store(address)

    def do_read(self, call: dict[str, Any]) -> int:
        """Read one byte."""
        address = self.address(call)
        if self.protection[call["address"]] == "none":
            refused_load(address)
        return ctypes.c_ubyte.from_address(address).value

    def do_fork(self, call: dict[str, Any]) -> None:
        """The child goes on as another worker; the parent returns."""
        if os.fork() == 0:
            self.name = call["child"]

    def do_exit(self, call: dict[str, Any]) -> None:
        """`serve` exits once this is answered."""

    def do_munmap(self, call: dict[str, Any]) -> None:
        """``munmap(2)``."""
        syscalls.munmap(self.address(call))
        self.protection[call["address"]] = "none"

    def do_mprotect(self, call: dict[str, Any]) -> None:
        """``mprotect(2)``."""
        protection = call["protection"]
        syscalls.mprotect(self.address(call), writable=protection == "rw")
        self.protection[call["address"]] = protection

    def do_vmsplice(self, call: dict[str, Any]) -> None:
        """Reference the page from a pipe."""
        _, writer = self.resources.pipes[call["reference"]]
        syscalls.vmsplice(writer, self.address(call))

    def do_io_uring_register(self, call: dict[str, Any]) -> None:
        """Pin the page as the fixed buffer of a ring."""
        self.resources.rings[call["reference"]].register(self.address(call))

    def do_futex(self, call: dict[str, Any]) -> None:
        """Reference the page for the duration of a system call."""
        syscalls.futex_wake_shared(self.address(call))


def refused_store(address: int) -> None:
    """Ask the kernel for a store that would raise SIGSEGV (``copy_to_user``).

    Raises:
        OSError: EFAULT.
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, b"\0")
        syscalls.check(syscalls.libc.read(reader, address, 1), "read")
    finally:
        os.close(reader)
        os.close(writer)


def refused_load(address: int) -> None:
    """Ask the kernel for a load that would raise SIGSEGV (``copy_from_user``).

    Raises:
        OSError: EFAULT.
    """
    reader, writer = os.pipe()
    try:
        syscalls.check(syscalls.libc.write(writer, address, 1), "write")
    finally:
        os.close(reader)
        os.close(writer)
