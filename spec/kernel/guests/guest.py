"""A kernel in QEMU, driven like the one that is running.

No hardware acceleration is used: a guest behaves alike wherever it runs. What is
seen of a guest counts only if it says at the end that it came to its end.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from spec.kernel.guests.init import END
from spec.kernel.guests.initramfs import initramfs
from spec.kernel.guests.packages import Image, NotAvailable
from spec.kernel.observe import Kernel, KernelError, this_machine
from spec.kernel.programs import Program

QEMU = "qemu-system-x86_64"
NEEDED = {QEMU: "qemu-system-x86", "ldd": "libc-bin"}
"""Commands that guests need, and the packages of Debian that have them."""
BOOT, ANSWER = 180.0, 120.0
"""Seconds until a guest is given up: it does not come up, or does not answer."""
NODE = 512
"""Megabytes of each of two NUMA nodes."""
APPEND = (
    *("console=ttyS0", "quiet", "panic=-1", "oops=panic", "mitigations=off"),
    *("nokaslr", "random.trust_cpu=on", "tsc=reliable"),
    *("brd.rd_nr=1", "brd.rd_size=1024"),
)
TROUBLE = 1 << 5 | 1 << 7 | 1 << 9
"""TAINT_BAD_PAGE, TAINT_DIE and TAINT_WARN (linux/panic.h)."""
LAST = 5
"""So many lines of a console are shown of a guest that ended."""


class GuestLost(KernelError):
    """A guest that did not come to its end: nothing of it counts."""


class Guest(Kernel):
    """A kernel that is booted; use it with ``with``.

    Args:
        image: what to boot.

    Raises:
        NotAvailable: this machine lacks what is needed to boot it.
        GuestLost: it ended before it was told to; says how.
    """

    def __init__(self, image: Image) -> None:
        super().__init__()
        self.image = image

    def __enter__(self) -> Guest:
        if reason := missing():
            raise NotAvailable(reason)
        with ExitStack() as stack:
            self.console = stack.enter_context(NamedTemporaryFile("r"))
            archive = stack.enter_context(NamedTemporaryFile())
            archive.write(initramfs(self.image.modules))
            archive.flush()
            command = qemu(self.image.kernel, Path(archive.name), self.console.name)
            self.driver = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
            stack.callback(self._kill)
            about = self._receive(BOOT)
            self.machine = replace(this_machine(), **about)
            self.open = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        with self.open:
            if raised[0] is None:
                self._end()

    def ask(self, request: Program) -> dict[str, Any]:
        """The driver's answer to a program.

        Raises:
            GuestLost: it does not answer any more.
        """
        self._send(json.dumps(request))
        answer = self._receive(ANSWER)
        if END in answer:
            raise GuestLost(self._why(f"ended its driver, status {answer[END]}"))
        return answer

    def _end(self) -> None:
        """Have it power off, and make sure that all went well inside.

        Raises:
            GuestLost: it did not.
        """
        self._send(END)
        last = self._receive(ANSWER)
        if last.get(END) != 0:
            raise GuestLost(f"{self.image.origin}: the driver ended with {last}")
        if last["tainted"] & TROUBLE:
            raise GuestLost(self._why(f"warned of itself, tainted {last['tainted']}"))
        try:
            self.driver.wait(ANSWER)
        except subprocess.TimeoutExpired:
            raise GuestLost(f"{self.image.origin} does not power off") from None

    def _send(self, line: str) -> None:
        assert self.driver.stdin is not None
        try:
            self.driver.stdin.write(f"{line}\n")
            self.driver.stdin.flush()
        except BrokenPipeError:
            raise GuestLost(self._why("ended")) from None

    def _receive(self, patience: float) -> dict[str, Any]:
        """The next line from the guest, within `patience` seconds."""
        assert self.driver.stdout is not None
        with self._killed_after(patience) as expired:
            line = self.driver.stdout.readline()
        if expired.is_set():
            raise GuestLost(self._why(f"gave no answer within {patience:.0f} s"))
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            raise GuestLost(self._why(line.strip() or "ended")) from None
        return found

    @contextmanager
    def _killed_after(self, patience: float) -> Iterator[threading.Event]:
        """End the guest if the body takes too long; the event says whether it did."""
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.driver.kill()

        timer = threading.Timer(patience, expire)
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()

    def _why(self, what: str) -> str:
        """What happened to the guest, with the end of its console."""
        said = [line for line in self.console.read().splitlines() if line.strip()]
        tail = "; ".join(said[-LAST:]) or "the console is empty"
        return f"{self.image.origin}: the guest {what} ({tail})"

    def _kill(self) -> None:
        self.driver.kill()
        self.driver.communicate()


def missing() -> str | None:
    """Which packages guests need that are not installed, in one sentence."""
    lacking = [
        package for command, package in NEEDED.items() if not shutil.which(command)
    ]
    if not lacking:
        return None
    return (
        f"guests need {' and '.join(lacking)}: "
        f"apt-get install --no-install-recommends {' '.join(lacking)}"
    )


def qemu(kernel: Path, archive: Path, console: str) -> list[str]:
    """The command that boots `kernel`: its console goes to a file, the link to stdio.

    ``-cx16``: QEMU's emulation of cmpxchg16b, interrupted, corrupts EFLAGS (seen in
    7.2), which shows as oopses in SLUB. One CPU: see `spec.kernel.driver`.
    """
    nodes: list[str] = []
    for number, cpus in enumerate((",cpus=0", "")):
        memory = f"m{number}"
        nodes += ["-object", f"memory-backend-ram,size={NODE}M,id={memory}"]
        nodes += ["-numa", f"node,memdev={memory}{cpus}"]
    return [
        *(QEMU, "-accel", "tcg", "-cpu", "max,-cx16", "-M", "pc", "-smp", "1"),
        *("-m", str(2 * NODE), *nodes),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
        *("-serial", "stdio", "-kernel", str(kernel), "-initrd", str(archive)),
        *("-append", " ".join(APPEND)),
    ]
