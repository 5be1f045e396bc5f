"""The processes of a program as the driver sees them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from contextlib import suppress
from typing import Any

from spec.kernel.pin import PATIENCE


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
