"""The driver: runs programs on this kernel and observes them after each call.

``python -m spec.kernel.driver`` reads programs from standard input, one JSON object
on a line, and answers each with a line of JSON. It needs the standard library only.
All that it starts are its own children, pinned with it to one CPU: another CPU's
LRU batches hold references that make write faults copy where they could reuse.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from typing import Any

from spec.kernel import syscalls
from spec.kernel.numbering import Numbering
from spec.kernel.pagemap import Entry, Pages, has_soft_dirty
from spec.kernel.pin import PATIENCE, HeldPin
from spec.kernel.ring import IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, Ring
from spec.kernel.syscalls import PAGE_SIZE
from spec.kernel.worker import Layout, Resources, Worker, lay_out

VMSPLICE, IO_URING = "vmsplice", "io_uring_register"
READV, FUTEX = "process_vm_readv", "futex"
"""How a reference is taken and kept; with futex(2) it is gone on return."""


MAY_FAIL = ("read", "write", "mprotect", "force-write", "mremap", "uffdio-move")
"""Words whose failure is an answer; others must not fail where a page is mapped."""


class DriverError(Exception):
    """The program could not be driven; one sentence."""


class Unavailable(DriverError):
    """This kernel refuses a system call that the program needs."""


class Process:
    """A worker as the driver sees it."""

    def __init__(self, name: str, channel: socket.socket, pid: int) -> None:
        self.name = name
        self.channel = channel
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self.alive = True

    def call(self, call: dict[str, Any]) -> dict[str, Any]:
        """Have it make one call; returns its answer."""
        self.channel.send(json.dumps(call).encode())
        ends = [self.channel.fileno(), self.pidfd]
        if self.pidfd in select.select(ends, [], [], PATIENCE)[0]:
            self.channel.setblocking(False)
        return receive(self.channel, self.name, call["word"])

    def wait_for_exit(self) -> None:
        """Wait until it is a zombie: its address space is gone by then."""
        if not select.select([self.pidfd], [], [], PATIENCE)[0]:
            raise DriverError(f"{self.name} did not exit")
        self.alive = False

    def close(self) -> None:
        """End it, whatever it does."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.close(self.pidfd)
        os.close(self.pagemap)


def receive(channel: socket.socket, name: str, word: str) -> dict[str, Any]:
    """The next message of a worker.

    Raises:
        DriverError: it ended, or takes too long.
    """
    try:
        message = channel.recv(4096)
    except TimeoutError:
        raise DriverError(f"{name} did not return from {word}") from None
    except BlockingIOError:
        message = b""
    if not message:
        raise DriverError(f"{name} ended during {word}")
    answer: dict[str, Any] = json.loads(message)
    return answer


class Reference:
    """A reference as its holder sees it; `page` was mapped when it was taken."""

    def __init__(self) -> None:
        self.how = ""
        self.live = False
        self.page: Entry | None = None
        self.address = 0
        self.pin: HeldPin | None = None


class Run:
    """One program.

    Args:
        program: ``processes`` (the first is there from the start), ``addresses``,
            ``huge`` and ``calls``; see `spec.kernel.programs`.
        pages: the open files of the kernel.
        stack: closes what is opened.
    """

    def __init__(self, program: dict[str, Any], pages: Pages, stack: ExitStack) -> None:
        self.program = program
        self.pages = pages
        self.stack = stack
        self.layout = self._layout()
        taken = {c["reference"]: c["how"] for c in program["calls"] if "how" in c}
        self.references = {name: Reference() for name in taken}
        self.processes: dict[str, Process] = {}
        self.numbers = Numbering[int]()
        self.looks = len(program["calls"]) + 1
        self.resources = Resources(
            {name: self._socketpair() for name in program["processes"]},
            {name: self._pipe() for name, how in taken.items() if how == VMSPLICE},
            {name: self._ring() for name, how in taken.items() if how == IO_URING},
            self.layout,
        )
        self.aside = self._pipe()

    def _layout(self) -> Layout:
        self.pages.scan = self.program["huge"]
        try:
            return lay_out(self.program["addresses"], self.program["huge"])
        except ValueError as error:
            raise Unavailable(str(error)) from error
        except OSError as error:
            raise Unavailable(f"no transparent huge pages: {error.strerror}") from error

    def _socketpair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in pair:
            self.stack.enter_context(end)
        return pair

    def _pipe(self) -> tuple[int, int]:
        pipe = os.pipe()
        for end in pipe:
            self.stack.callback(os.close, end)
        return pipe

    def _ring(self) -> Ring:
        try:
            ring = Ring()
        except OSError as error:
            raise Unavailable(f"io_uring_setup: {error.strerror}") from error
        self.stack.callback(ring.close)
        return ring

    def run(self) -> dict[str, Any]:
        """Make all calls; what was seen after each, and the values at the end."""
        first = self.program["processes"][0]
        if os.fork() == 0:
            become(first, self.resources)
        for _, worker in self.resources.sockets.values():
            worker.close()
        self.adopt(first)
        lines = []
        for call in self.program["calls"]:
            answer = self.make(call)
            lines.append({**answer, **self.observe()})
        return {"lines": lines, "final": self.final_values(lines[-1])}

    def adopt(self, name: str) -> None:
        """Take charge of a new worker."""
        channel, _ = self.resources.sockets[name]
        channel.settimeout(PATIENCE)
        process = Process(name, channel, receive(channel, name, "fork")["pid"])
        self.processes[name] = process
        self.stack.callback(process.close)

    def make(self, call: dict[str, Any]) -> dict[str, Any]:
        """Make one call, by a process or by the holder of a reference."""
        if call["actor"] in self.references:
            return self.by_reference(self.references[call["actor"]], call)
        process = self.processes[call["actor"]]
        if call["word"] == "gup":
            return self.gup(process, call)
        if call["word"] == "softdirty" and not has_soft_dirty():
            raise Unavailable("this kernel does not track soft-dirty pages")
        answer = process.call(call)
        if "errno" in answer and call["word"] not in MAY_FAIL:
            if answer["errno"] != "ENOMEM":
                raise Unavailable(f"{call['word']} fails with {answer['errno']}")
            answer = {"value": None}
        if call["word"] == "fork" and "errno" not in answer:
            self.adopt(call["child"])
        if call["word"] == "exit":
            process.wait_for_exit()
        return answer

    def gup(self, process: Process, call: dict[str, Any]) -> dict[str, Any]:
        """Take a reference."""
        reference = self.references[call["reference"]]
        reference.how = call["how"]
        reference.address = self.layout.addresses[call["address"]]
        if reference.how == READV:
            answer = self.hold(process, reference)
        else:
            answer = process.call({**call, "word": reference.how})
        if "errno" in answer:
            if answer["errno"] != "EFAULT":
                raise Unavailable(f"{reference.how} fails with {answer['errno']}")
            return answer
        if reference.how != FUTEX:
            reference.live = True
            entry = self.pages.entry(process.pagemap, reference.address)
            reference.page = entry
        return answer

    def hold(self, process: Process, reference: Reference) -> dict[str, Any]:
        """Have process_vm_readv(2) pin a page."""
        try:
            reference.pin = HeldPin(process.pid, reference.address, self.looks)
        except OSError as error:
            if error.filename == READV:
                return {"errno": errno.errorcode[error.errno or 0]}
            raise Unavailable(f"{error.filename}: {error.strerror}") from error
        self.stack.callback(self.let_go, reference)
        return {"value": None}

    def by_reference(
        self, reference: Reference, call: dict[str, Any]
    ) -> dict[str, Any]:
        """What the holder of a reference does; a void one does nothing."""
        if not reference.live:
            return {"value": None}
        if call["word"] == "put":
            self.put(call["actor"], reference)
        elif call["word"] == "write":
            self.poke(call["actor"], reference, call["value"])
        return {"value": None}

    def put(self, name: str, reference: Reference) -> None:
        """Let go of the page."""
        reference.live = False
        if reference.how == VMSPLICE:
            os.read(self.resources.pipes[name][0], PAGE_SIZE)
        elif reference.how == IO_URING:
            self.resources.rings[name].unregister()
        else:
            self.let_go(reference)

    def let_go(self, reference: Reference) -> None:
        """End a held process_vm_readv(2)."""
        if reference.pin is not None:
            pin, reference.pin = reference.pin, None
            pin.put()

    def poke(self, name: str, reference: Reference, value: int) -> None:
        """The device writes."""
        reader, writer = self.aside
        os.write(writer, bytes([value]) * PAGE_SIZE)
        ring = self.resources.rings[name]
        ring.transfer(IORING_OP_READ_FIXED, reader, reference.address, PAGE_SIZE)

    def look(self, name: str, reference: Reference) -> int:
        """What the holder sees in the page, without letting go of it."""
        reader, writer = self.aside
        if reference.pin is not None:
            return reference.pin.look()
        if reference.how == VMSPLICE:
            syscalls.tee(self.resources.pipes[name][0], writer)
            return os.read(reader, PAGE_SIZE)[0]
        ring = self.resources.rings[name]
        ring.transfer(IORING_OP_WRITE_FIXED, writer, reference.address, 1)
        return os.read(reader, 1)[0]

    def observe(self) -> dict[str, Any]:
        """What every process maps and what every reference sees; touches nothing."""
        found = {
            name: {
                va: self.pages.entry(process.pagemap, address)
                for va, address in self.layout.addresses.items()
            }
            for name, process in self.processes.items()
            if process.alive
        }
        live = {n: r for n, r in self.references.items() if r.live}
        entries = [e for mapped in found.values() for e in mapped.values()]
        entries += [r.page for r in live.values() if r.page is not None]
        self.numbers.look(e.pfn for e in entries if e.kind == "page")
        return {
            "processes": {
                name: {va: self.shown(entry) for va, entry in mapped.items()}
                for name, mapped in found.items()
            },
            "references": {
                name: self.seen(name, r, r.page)
                for name, r in live.items()
                if r.page is not None
            },
        }

    def shown(self, entry: Entry) -> dict[str, Any]:
        """An entry as JSON, its page frame as a small number."""
        if entry.kind != "page":
            return {"kind": entry.kind}
        return {
            "kind": "page",
            "page": self.numbers[entry.pfn],
            "exclusive": entry.exclusive,
            "mapcount": entry.mapcount,
            "huge": entry.huge,
        }

    def seen(self, name: str, reference: Reference, page: Entry) -> dict[str, Any]:
        """The page a reference holds and what its holder reads there, as JSON."""
        held = {"kind": page.kind, "value": self.look(name, reference)}
        if page.kind == "page":
            held["page"] = self.numbers[page.pfn]
        return held

    def final_values(self, last: dict[str, Any]) -> dict[str, dict[str, int]]:
        """What every process reads where a page is mapped: no fault, no change."""
        return {
            name: {
                va: self.processes[name].call({"word": "read", "address": va})["value"]
                for va, entry in mapped.items()
                if entry["kind"] in ("page", "zero")
            }
            for name, mapped in last["processes"].items()
        }


def become(name: str, resources: Resources) -> None:
    """Be the first worker of a program; does not return."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        Worker(name, resources).serve()
    except BaseException as error:
        print(f"worker: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(1)


def reap() -> None:
    """Wait for every child; the workers' orphaned children are ours too."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def run(program: dict[str, Any], pages: Pages) -> dict[str, Any]:
    """Run one program; ``lines`` and ``final``, or ``unavailable`` or ``error``."""
    try:
        with ExitStack() as stack:
            stack.callback(reap)
            return Run(program, pages, stack).run()
    except Unavailable as error:
        return {"unavailable": str(error)}
    except DriverError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"{error.filename or 'system call'}: {error.strerror}"}


def pin_to_one_cpu() -> None:
    """This process and all its children run on one CPU."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})


def main() -> None:
    """Answer programs until standard input ends."""
    pin_to_one_cpu()
    syscalls.become_subreaper()
    with Pages() as pages:
        for line in sys.stdin:
            print(json.dumps(run(json.loads(line), pages)), flush=True)


if __name__ == "__main__":
    main()
