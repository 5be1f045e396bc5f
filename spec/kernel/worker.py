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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from spec.kernel import abilities, pagemap, syscalls, whole
from spec.kernel.abilities import page_at
from spec.kernel.inflight import PendingRead
from spec.kernel.ring import Ring
from spec.kernel.syscalls import PAGE_SIZE
from spec.kernel.uffd import (
    UFFD_FEATURE_PAGEFAULT_FLAG_WP,
    UFFD_FEATURE_WP_ASYNC,
    UFFDIO_REGISTER_MODE_MISSING,
    UFFDIO_REGISTER_MODE_WP,
    UFFDIO_WRITEPROTECT_MODE_WP,
    Uffd,
)

BASE = 1 << 36
STRIDE = 1 << 20
"""Where the addresses lie: away from all that the kernel places by itself, so that
nothing else is ever mapped into the hole that munmap leaves."""
PMD_SIZE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")


@dataclass(frozen=True)
class Layout:
    """Where the addresses of a program lie.

    An address stands for `pages` consecutive pages: one, or the same share of a huge
    page as each other address has. They fare alike; the first is looked at and
    given to GUP.
    """

    addresses: dict[str, int]
    pages: int
    huge: bool

    @property
    def length(self) -> int:
        """The bytes that an address stands for."""
        return self.pages * PAGE_SIZE

    @property
    def end(self) -> int:
        """The end of the last one."""
        return max(self.addresses.values()) + self.length


def lay_out(names: list[str], huge: bool) -> Layout:
    """Place the addresses `names`.

    Raises:
        OSError: the kernel has no transparent huge pages.
        ValueError: so many addresses do not divide a huge page.
    """
    if not huge:
        addresses = {name: BASE + i * STRIDE for i, name in enumerate(names)}
        return Layout(addresses, 1, huge=False)
    pages, left = divmod(int(PMD_SIZE.read_text()) // PAGE_SIZE, len(names))
    if left:
        raise ValueError(f"{len(names)} addresses do not divide a huge page")
    places = {name: BASE + i * pages * PAGE_SIZE for i, name in enumerate(names)}
    return Layout(places, pages, huge=True)


@dataclass
class Resources:
    """What exists before the first process: all workers inherit it."""

    sockets: dict[str, tuple[socket.socket, socket.socket]]
    pipes: dict[str, tuple[int, int]]
    rings: dict[str, Ring]
    disks: dict[str, int]
    file: int | None
    layout: Layout


class Worker:
    """One process. `serve` does not return.

    Args:
        name: the process of the litmus program that this one is.
        resources: what the driver has made.
    """

    def __init__(self, name: str, resources: Resources) -> None:
        self.name = name
        self.resources = resources
        self.layout = resources.layout
        self.protection = dict.fromkeys(self.layout.addresses, "rw")
        self.uffd: Uffd | None = None
        self.pending: dict[str, PendingRead] = {}
        for driver, _ in resources.sockets.values():
            driver.close()
        for address in self.layout.addresses.values():
            syscalls.map_page(address, self.layout.pages)

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
        name = call["word"].replace(" ", "_").replace("-", "_")
        try:
            value = getattr(self, f"do_{name}")(call)
        except OSError as error:
            number = error.errno or 0
            return {"errno": errno.errorcode.get(number, str(number))}
        return {"value": value}

    def address(self, call: dict[str, Any]) -> int:
        """Where the address that the call names lies."""
        return self.layout.addresses[call["address"]]

    def do_write(self, call: dict[str, Any]) -> None:
        """Fill the page, so that any of its bytes shows the value."""
        address = self.address(call)
        if self.protection[call["address"]] != "rw":
            refused_store(address)
        elif self.layout.huge:
            self.fill(address, call["value"])
        else:
            ctypes.memset(address, call["value"], PAGE_SIZE)

    def fill(self, address: int, value: int) -> None:
        """Fill all but the last byte, lest the kernel take a page for a zeropage."""
        for page in range(address, address + self.layout.length, PAGE_SIZE):
            ctypes.memset(page, value, PAGE_SIZE - 1)
            ctypes.memset(page + PAGE_SIZE - 1, 0xFF, 1)

    def do_force_write(self, call: dict[str, Any]) -> None:
        """Write through /proc/self/mem: FOLL_FORCE (``access_remote_vm``)."""
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            content = bytes([call["value"]]) * self.layout.length
            os.pwrite(memory, content, self.address(call))
        finally:
            os.close(memory)

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
            if self.uffd is not None:
                self.uffd.close()
                self.uffd = None

    def do_exit(self, call: dict[str, Any]) -> None:
        """`serve` exits once this is answered."""

    def do_munmap(self, call: dict[str, Any]) -> None:
        """``munmap(2)``."""
        syscalls.munmap(self.address(call), self.layout.pages)
        self.protection[call["address"]] = "none"

    def do_mprotect(self, call: dict[str, Any]) -> None:
        """``mprotect(2)``."""
        protection = call["protection"]
        writable = protection == "rw"
        syscalls.mprotect(self.address(call), writable, self.layout.pages)
        self.protection[call["address"]] = protection

    def do_madvise_dontneed(self, call: dict[str, Any]) -> None:
        """``MADV_DONTNEED``."""
        self.advise(call, syscalls.MADV_DONTNEED)

    def do_madvise_free(self, call: dict[str, Any]) -> None:
        """``MADV_FREE``."""
        self.advise(call, syscalls.MADV_FREE)

    def do_madvise_pageout(self, call: dict[str, Any]) -> None:
        """``MADV_PAGEOUT``: reclaim what only this process maps."""
        self.advise(call, syscalls.MADV_PAGEOUT)

    def do_madvise_unmergeable(self, call: dict[str, Any]) -> None:
        """``MADV_UNMERGEABLE``: KSM pages become pages of one's own."""
        self.advise(call, syscalls.MADV_UNMERGEABLE)

    def do_madvise_mergeable(self, call: dict[str, Any]) -> None:
        """``MADV_MERGEABLE``: ksmd looks at the address, if it runs."""
        self.advise(call, whole.MADV_MERGEABLE)

    def do_migrate(self, call: dict[str, Any]) -> None:
        """``move_pages(2)`` to another node."""
        whole.move_to_another_node(self.address(call))

    def do_soft_offline(self, call: dict[str, Any]) -> None:
        """``MADV_SOFT_OFFLINE``."""
        whole.soft_offline(self.address(call), PAGE_SIZE)

    def advise(self, call: dict[str, Any], advice: int) -> None:
        """``madvise(2)`` of one address."""
        syscalls.madvise(self.address(call), self.layout.length, advice)

    def do_mremap(self, call: dict[str, Any]) -> None:
        """``mremap(2)`` to an address that is mapped or not."""
        source, target = call["address"], call["target"]
        addresses, pages = self.layout.addresses, self.layout.pages
        try:
            syscalls.mremap(addresses[source], addresses[target], pages)
        except OSError:
            # Old kernels unmap the target before they find that there is no source.
            if not syscalls.is_mapped(addresses[target]):
                self.protection[target] = "none"
            raise
        self.protection[target] = self.protection[source]
        self.protection[source] = "none"

    def do_softdirty(self, call: dict[str, Any]) -> None:
        """Write-protect to see further writes: all pages (``clear_refs_write``)."""
        Path("/proc/self/clear_refs").write_text("4")

    def faults(self) -> Uffd:
        """The userfaultfd of this process; write-protect faults lift the protection."""
        if self.uffd is None and abilities.release() >= (6, 7):
            self.uffd = Uffd(UFFD_FEATURE_WP_ASYNC)
        elif self.uffd is None:
            self.uffd = Uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP)
            Thread(target=self.uffd.lift_protection, daemon=True).start()
        return self.uffd

    def registered(self, call: dict[str, Any]) -> Uffd:
        """The userfaultfd, with write-protect faults at the address of the call.

        Raises:
            OSError: ENOMEM: there is no mapping.
        """
        if self.protection[call["address"]] == "none":
            raise OSError(errno.ENOMEM, "not mapped", "userfaultfd")
        uffd = self.faults()
        length = self.layout.length
        uffd.register(self.address(call), length, UFFDIO_REGISTER_MODE_WP)
        return uffd

    def do_uffd_wp(self, call: dict[str, Any]) -> None:
        """``UFFDIO_WRITEPROTECT`` where a page is mapped."""
        uffd, address = self.registered(call), self.address(call)
        for start, length in present(address, self.layout.pages):
            uffd.write_protect(start, length, UFFDIO_WRITEPROTECT_MODE_WP)

    def do_uffd_unwp(self, call: dict[str, Any]) -> None:
        """``UFFDIO_WRITEPROTECT`` that lifts the protection."""
        uffd = self.registered(call)
        uffd.write_protect(self.address(call), self.layout.length, 0)

    def do_uffdio_move(self, call: dict[str, Any]) -> None:
        """``UFFDIO_MOVE`` to where nothing may be mapped."""
        uffd, length = self.faults(), self.layout.length
        target = self.layout.addresses[call["target"]]
        uffd.register(target, length, UFFDIO_REGISTER_MODE_MISSING)
        try:
            uffd.move(target, self.address(call), length)
        finally:
            uffd.unregister(target, length)

    def do_split_pmd(self, call: dict[str, Any]) -> None:
        """Protect the last page of the address for a moment: the PMD is split."""
        protection = self.protection[call["address"]]
        if protection != "none":
            last = self.address(call) + self.layout.length - PAGE_SIZE
            syscalls.protect_none(last)
            syscalls.mprotect(last, writable=protection == "rw")

    def do_split(self, call: dict[str, Any]) -> None:
        """``MADV_COLD`` of one page of a huge page splits the folio first."""
        last = self.address(call) + self.layout.length - PAGE_SIZE
        syscalls.madvise(last, PAGE_SIZE, syscalls.MADV_COLD)

    def do_madvise_hugepage(self, call: dict[str, Any]) -> None:
        """Map a huge page by a first touch."""
        self.hugepages(allowed=True)
        try:
            for address in self.layout.addresses.values():
                self.fill(address, 0)
        finally:
            self.hugepages(allowed=False)

    def do_collapse(self, call: dict[str, Any]) -> None:
        """``MADV_COLLAPSE``."""
        self.hugepages(allowed=True)
        try:
            syscalls.madvise(BASE, self.layout.end - BASE, syscalls.MADV_COLLAPSE)
        finally:
            self.hugepages(allowed=False)

    def hugepages(self, *, allowed: bool) -> None:
        """Allow huge pages for one call only: khugepaged must not make any."""
        advice = syscalls.MADV_HUGEPAGE if allowed else syscalls.MADV_NOHUGEPAGE
        syscalls.madvise(BASE, self.layout.end - BASE, advice)

    def do_vmsplice(self, call: dict[str, Any]) -> None:
        """Reference the page from a pipe."""
        _, writer = self.resources.pipes[call["reference"]]
        syscalls.vmsplice(writer, self.address(call))

    def do_io_uring_register(self, call: dict[str, Any]) -> None:
        """Pin the page as the fixed buffer of a ring."""
        self.resources.rings[call["reference"]].register(self.address(call))

    def do_read_memory_file(self, call: dict[str, Any]) -> None:
        """Read through /proc/self/mem: FOLL_GET for the time of the call."""
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.pread(memory, 1, self.address(call))
        finally:
            os.close(memory)

    def do_process_vm_readv(self, call: dict[str, Any]) -> None:
        """Read one's own memory: FOLL_PIN for the time of the call."""
        byte = ctypes.c_ubyte()
        target = ctypes.addressof(byte)
        syscalls.process_vm_readv(os.getpid(), self.address(call), [target])

    def do_process_vm_writev(self, call: dict[str, Any]) -> None:
        """Write to one's own memory: FOLL_PIN|FOLL_WRITE for the time of the call."""
        content = bytes([call["value"]]) * PAGE_SIZE
        syscalls.process_vm_writev(os.getpid(), self.address(call), content)

    def do_direct_read(self, call: dict[str, Any]) -> None:
        """``read(2)`` with O_DIRECT: the device writes to the page."""
        assert self.resources.file is not None
        os.preadv(self.resources.file, [page_at(self.address(call))], 0)

    def do_direct_write(self, call: dict[str, Any]) -> None:
        """``write(2)`` with O_DIRECT: the device reads the page."""
        assert self.resources.file is not None
        os.pwritev(self.resources.file, [page_at(self.address(call))], 0)

    def do_io_submit(self, call: dict[str, Any]) -> None:
        """Have a disk that stands still write to the page."""
        disk = self.resources.disks[call["reference"]]
        self.pending[call["reference"]] = PendingRead(disk, self.address(call))

    def do_io_getevents(self, call: dict[str, Any]) -> None:
        """Wait until it has written, or has failed."""
        self.pending.pop(call["reference"]).wait()

    def do_futex(self, call: dict[str, Any]) -> None:
        """Reference the page for the duration of a system call."""
        syscalls.futex_wake_shared(self.address(call))


def present(address: int, pages: int) -> Iterator[tuple[int, int]]:
    """Address and length of each run of pages that are mapped."""
    file = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mapped = pagemap.present(file, address, pages)
    finally:
        os.close(file)
    for is_mapped, run in groupby(range(pages), key=mapped.__getitem__):
        numbers = list(run)
        if is_mapped:
            yield address + numbers[0] * PAGE_SIZE, len(numbers) * PAGE_SIZE


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
