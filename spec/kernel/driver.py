"""The driver: runs programs on this kernel and observes them after each call.

``python -m spec.kernel.driver`` reads programs from standard input, one JSON object
on a line, and answers each with a line of JSON. It needs the standard library only.
All that it starts are its own children, pinned with it to one CPU: another CPU's
LRU batches hold references that make write faults copy where they could reuse.

It changes nothing but its own processes, unless ``--own-machine`` says that nobody
else uses this one. With ``--values-only``, or where page frames are hidden, it tells
what is read and whether anything is mapped, as any user could see it.
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from spec.kernel import abilities, syscalls, tracing
from spec.kernel.inflight import Standstill
from spec.kernel.numbering import Numbering
from spec.kernel.own import Machine
from spec.kernel.pagemap import Entry, Pages, has_soft_dirty, not_visible
from spec.kernel.pin import PATIENCE
from spec.kernel.process import DriverError, Process, Unavailable, receive
from spec.kernel.references import (
    FUTEX,
    IO_SUBMIT,
    IO_URING,
    READV,
    VMSPLICE,
    Reference,
    pipe,
)
from spec.kernel.ring import Ring
from spec.kernel.worker import Layout, Resources, Worker, lay_out

MAY_FAIL = ("read", "write", "mprotect", "force-write", "mremap", "uffdio-move")
"""Words whose failure is an answer; others must not fail where a page is mapped."""
LATER = "later"
"""Nothing is done and nothing observed: one call of a later line does it all."""
PTRACE_PEEK, PTRACE_POKE = "ptrace peek", "ptrace poke"
DIRECT_READ, DIRECT_WRITE = "direct read", "direct write"
DIRECT = (DIRECT_READ, DIRECT_WRITE)
BRIEF = (
    *("read memory file", READV, "process_vm_writev"),
    *(PTRACE_PEEK, *DIRECT),
)
"""Calls that take a reference and let go of it; what they fail with is no answer."""
COLLAPSE_FAILS = ("EAGAIN", "EBUSY", "EINVAL", "ENOMEM")
NOTHING_THERE = ("EFAULT", "EIO")


class Run:
    """One program.

    Args:
        program: ``processes`` (the first is there from the start), ``addresses``,
            ``huge`` and ``calls``; see `spec.kernel.programs`.
        machine: what is at the driver's disposal.
        stack: closes what is opened.
    """

    def __init__(
        self, program: dict[str, Any], machine: Machine, stack: ExitStack
    ) -> None:
        self.program = program
        self.machine = machine
        self.pages = machine.pages
        self.stack = stack
        self.layout = self._layout()
        self.processes: dict[str, Process] = {}
        self.numbers = Numbering[int]()
        self.looks = len(program["calls"]) + 1
        taken = {c["reference"]: c["how"] for c in program["calls"] if "how" in c}
        rings = {name: self._ring() for name, how in taken.items() if how == IO_URING}
        aside = pipe(stack)
        self.references = {
            name: Reference(name, how, rings.get(name), aside, stack)
            for name, how in taken.items()
        }
        for reference in self.references.values():
            if reference.how == IO_SUBMIT:
                reference.disk = self._disk(reference.name)
        self.resources = Resources(
            {name: self._socketpair() for name in program["processes"]},
            {n: r.pipe for n, r in self.references.items() if r.how == VMSPLICE},
            rings,
            {n: r.disk.file for n, r in self.references.items() if r.disk is not None},
            self._file(),
            self.layout,
        )

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

    def _ring(self) -> Ring:
        try:
            ring = Ring()
        except OSError as error:
            raise Unavailable(f"io_uring_setup: {error.strerror}") from error
        self.stack.callback(ring.close)
        return ring

    def _disk(self, name: str) -> Standstill:
        self.machine.can_keep_direct_io()
        try:
            disk = Standstill(name)
        except OSError as error:
            raise Unavailable(f"{error.filename}: {error.strerror}") from error
        self.stack.callback(disk.close)
        return disk

    def _file(self) -> int | None:
        wanted = [c["pins"] for c in self.program["calls"] if c["word"] in DIRECT]
        if not wanted:
            return None
        if any(pins != abilities.direct_io_pins() for pins in wanted):
            flag = "FOLL_PIN" if True in wanted else "FOLL_GET"
            raise Unavailable(f"O_DIRECT of this kernel is not known to use {flag}")
        try:
            file = abilities.file_for_direct_io()
        except OSError as error:
            raise Unavailable(f"{error.filename}: {error.strerror}") from error
        self.stack.callback(os.close, file)
        return file

    def run(self) -> dict[str, Any]:
        """Make all calls; what was seen after each, and the values at the end."""
        first = self.program["processes"][0]
        if os.fork() == 0:
            become(first, self.resources)
        for _, worker in self.resources.sockets.values():
            worker.close()
        self.adopt(first)
        lines: list[dict[str, Any]] = []
        for call in self.program["calls"]:
            if call["word"] == LATER:
                lines.append({LATER: True})
                continue
            answer = self.make(call)
            lines.append({**answer, **self.observe()})
        return {
            "sees": self.pages.sees,
            "lines": lines,
            "final": self.final_values(lines[-1]),
        }

    def adopt(self, name: str) -> None:
        """Take charge of a new worker."""
        channel, _ = self.resources.sockets[name]
        channel.settimeout(PATIENCE)
        process = Process(name, channel, receive(channel, name, "fork")["pid"])
        self.processes[name] = process
        self.stack.callback(process.close)

    def make(self, call: dict[str, Any]) -> dict[str, Any]:
        """Make one call, by a process, by the holder of a reference, by the driver."""
        if call["actor"] in self.references:
            return self.by_reference(self.references[call["actor"]], call)
        if call["word"] == "swapoff":
            self.machine.swap_in_everything()
            return {"value": None}
        process = self.processes[call["actor"]]
        if call["word"] == "gup":
            return self.gup(process, call)
        if call["word"] in BRIEF:
            return self.briefly(process, call)
        answer = self.carry_out(process, call)
        if "errno" in answer and call["word"] not in MAY_FAIL:
            if answer["errno"] != "ENOMEM":
                raise Unavailable(f"{call['word']} fails with {answer['errno']}")
            answer = {"value": None}
        if call["word"] == "fork" and "errno" not in answer:
            self.adopt(call["child"])
        if call["word"] == "exit":
            process.wait_for_exit()
        return answer

    def carry_out(self, process: Process, call: dict[str, Any]) -> dict[str, Any]:
        """Make a call of a process by what this machine has for it.

        Raises:
            Unavailable: it has nothing.
        """
        match call["word"]:
            case "softdirty" if not has_soft_dirty():
                raise Unavailable("this kernel does not track soft-dirty pages")
            case "swapout" | "madvise pageout":
                self.machine.needs_swap()
                return process.call({**call, "word": "madvise pageout"})
            case "reclaim":
                self.machine.can_reclaim(self.entry(process, call))
                return process.call({**call, "word": "madvise pageout"})
            case "migrate":
                return process.call({**call, "word": self.machine.migration()})
            case "ksm":
                return self.merge(process, call)
            case "uffdio-move" if abilities.release() < (6, 8):
                raise Unavailable("UFFDIO_MOVE came with 6.8")
            case "collapse":
                return self.collapse(process, call)
            case "force-write" if self.forces_by_ptrace(call):
                return self.traced(process, call)
        return process.call(call)

    def entry(self, process: Process, call: dict[str, Any]) -> Entry:
        """What the address of a call maps."""
        address = self.layout.addresses[call["address"]]
        return self.pages.entry(process.pagemap, address)

    def forces_by_ptrace(self, call: dict[str, Any]) -> bool:
        """Whether ptrace(2) carries out FOLL_FORCE: wanted, or nothing else does.

        Raises:
            Unavailable: nothing does: ptrace(2) writes a word, no share of a huge page.
        """
        wanted = call.get("by") == PTRACE_POKE
        forces = abilities.memory_file_forces()
        if self.layout.huge and not forces:
            raise Unavailable("/proc/PID/mem of this kernel does not force writes")
        return not self.layout.huge and (wanted or not forces)

    def merge(self, process: Process, call: dict[str, Any]) -> dict[str, Any]:
        """Have ksmd merge what two processes map."""
        self.machine.needs_ksm()
        for each in (process, self.processes[call["other"]]):
            answer = each.call({**call, "word": "madvise mergeable"})
            if "errno" in answer:
                return answer
        self.machine.run_ksmd()
        return {"value": None}

    def collapse(self, process: Process, call: dict[str, Any]) -> dict[str, Any]:
        """``MADV_COLLAPSE``; if pages are in use it fails and does nothing."""
        if abilities.release() < (6, 1):
            raise Unavailable("MADV_COLLAPSE came with 6.1")
        answer = process.call(call)
        return {"value": None} if answer.get("errno") in COLLAPSE_FAILS else answer

    def traced(self, process: Process, call: dict[str, Any]) -> dict[str, Any]:
        """Read or write the memory of a process as a debugger does."""
        address = self.layout.addresses[call["address"]]
        try:
            if call["word"] == PTRACE_PEEK:
                tracing.peek(process.pid, address)
            else:
                tracing.poke(process.pid, address, call["value"])
        except OSError as error:
            return {"errno": errno.errorcode[error.errno or 0]}
        return {"value": None}

    def briefly(self, process: Process, call: dict[str, Any]) -> dict[str, Any]:
        """Take a reference, use it and let go, all in one system call."""
        if call["word"] == PTRACE_PEEK:
            answer = self.traced(process, call)
        else:
            if call["word"] == DIRECT_READ:
                assert self.resources.file is not None
                abilities.store(self.resources.file, call["value"])
            answer = process.call(call)
        if answer.get("errno", "EFAULT") not in NOTHING_THERE:
            raise Unavailable(f"{call['word']} fails with {answer['errno']}")
        return {"value": None}

    def gup(self, process: Process, call: dict[str, Any]) -> dict[str, Any]:
        """Take a reference."""
        reference = self.references[call["reference"]]
        reference.address = self.layout.addresses[call["address"]]
        reference.owner = process
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
            reference.page = self.entry(process, call)
        return answer

    def hold(self, process: Process, reference: Reference) -> dict[str, Any]:
        """Have process_vm_readv(2) pin a page."""
        try:
            reference.hold(process.pid, self.looks)
        except OSError as error:
            if error.filename == READV:
                return {"errno": errno.errorcode[error.errno or 0]}
            raise Unavailable(f"{error.filename}: {error.strerror}") from error
        return {"value": None}

    def by_reference(
        self, reference: Reference, call: dict[str, Any]
    ) -> dict[str, Any]:
        """What the holder of a reference does; a void one does nothing."""
        if reference.live and call["word"] == "put":
            reference.put()
        elif reference.live and call["word"] == "write":
            reference.write(call["value"])
        return {"value": None}

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
                name: self.seen(r, r.page)
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

    def seen(self, reference: Reference, page: Entry) -> dict[str, Any]:
        """The page a reference holds and what its holder reads there, as JSON."""
        held = {"kind": page.kind, "value": reference.look()}
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


def run(program: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """Run one program; ``lines`` and ``final``, or ``unavailable`` or ``error``."""
    try:
        with ExitStack() as stack:
            stack.callback(reap)
            return Run(program, machine, stack).run()
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer programs until standard input ends."""
    options = argparse.ArgumentParser(prog="spec.kernel.driver", allow_abbrev=False)
    options.add_argument("--own-machine", action="store_true")
    options.add_argument("--values-only", action="store_true")
    told = options.parse_args(arguments)
    pin_to_one_cpu()
    syscalls.become_subreaper()
    # A worker is a copy of this process: a collection in it would copy its pages.
    gc.disable()
    gc.freeze()
    values_only = told.values_only or not_visible() is not None
    with Pages(values_only=values_only) as pages:
        machine = Machine(pages, own=told.own_machine)
        for line in sys.stdin:
            print(json.dumps(run(json.loads(line), machine)), flush=True)


if __name__ == "__main__":
    main()
