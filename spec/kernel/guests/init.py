"""The first process of a guest: prepares the kernel, runs the driver, powers off.

It talks through the second serial port, so that nothing the kernel prints comes in
between: a line that says what the guest is, the driver's answers, a last line.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import select
import subprocess
import sys
import termios
import tty
from pathlib import Path
from typing import Any

LINK = "/dev/ttyS1"
END = "end"
"""What is sent to end a guest, and the key in the line that it answers with."""
DRIVER = [
    *(sys.executable, "-SE", "-c", "from spec.kernel import driver; driver.main()"),
    "--own-machine",
]
MODULES = Path("/modules")
PARAMETERS = {"brd": "rd_nr=1 rd_size=1024"}
ZRAM, ZRAM_SIZE = Path("/dev/zram0"), 128 << 20
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
MOUNTS = {
    "/proc": "proc",
    "/sys": "sysfs",
    "/dev": "devtmpfs",
    "/tmp": "tmpfs",
    "/sys/kernel/debug": "debugfs",
}
# asm/unistd_64.h, linux/reboot.h
SYS_FINIT_MODULE = 313
RB_POWER_OFF = 0x4321FEDC

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Be the first process; does not return."""
    for target, kind in MOUNTS.items():
        libc.mount(kind.encode(), target.encode(), kind.encode(), 0, None)
    for module in sorted(MODULES.iterdir()):
        load(module)
    link = open_link()
    swap_on()
    say(link, about())
    status = serve(link)
    say(link, {END: status, "tainted": tainted()})
    termios.tcdrain(link)
    libc.reboot(RB_POWER_OFF)


def load(module: Path) -> None:
    """Load a module (``finit_module``); one that this kernel refuses is left out."""
    name = module.stem.partition("-")[2]
    file = os.open(module, os.O_RDONLY)
    parameters = PARAMETERS.get(name, "").encode()
    if libc.syscall(SYS_FINIT_MODULE, file, parameters, 0) != 0:
        print(f"module {name}: {os.strerror(ctypes.get_errno())}")
    os.close(file)


def swap_on() -> None:
    """Swap on compressed memory, if the kernel has it."""
    if not ZRAM.exists():
        return
    Path("/sys/block/zram0/disksize").write_text(str(ZRAM_SIZE))
    with ZRAM.open("r+b", buffering=0) as disk:
        disk.write(swap_header(ZRAM_SIZE // PAGE_SIZE))
    libc.swapon(str(ZRAM).encode(), 0)


def swap_header(pages: int) -> bytes:
    """What mkswap(8) writes (``union swap_header``): version 1, the last page."""
    info = (1).to_bytes(4, sys.byteorder) + (pages - 1).to_bytes(4, sys.byteorder)
    return (bytes(1024) + info).ljust(PAGE_SIZE - 10, b"\0") + b"SWAPSPACE2"


def open_link() -> int:
    """The serial port to whoever started this guest; bytes pass as they are."""
    link = os.open(LINK, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(link)
    return link


def say(link: int, found: dict[str, Any]) -> None:
    """Send one line."""
    os.write(link, json.dumps(found).encode() + b"\n")


def about() -> dict[str, Any]:
    """What this guest is."""
    return {"release": platform.release(), "architecture": platform.machine()}


def serve(link: int) -> int:
    """Hand lines on to the driver until one says `END`; the driver's exit status."""
    driver = subprocess.Popen(DRIVER, stdin=subprocess.PIPE, stdout=link)
    assert driver.stdin is not None
    ended = os.pidfd_open(driver.pid)
    line = b""
    while ended not in select.select([link, ended], [], [])[0]:
        line += os.read(link, 4096)
        if line == f"{END}\n".encode():
            break
        if line.endswith(b"\n"):
            driver.stdin.write(line)
            driver.stdin.flush()
            line = b""
    driver.stdin.close()
    return driver.wait()


def tainted() -> int:
    """Whether the kernel has warned of itself (``/proc/sys/kernel/tainted``)."""
    return int(Path("/proc/sys/kernel/tainted").read_text())
