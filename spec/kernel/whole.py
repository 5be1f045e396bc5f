"""What changes more than the driver's own processes: migration, KSM.

Migration by ``move_pages(2)`` needs a second NUMA node and changes nothing else.
Soft offlining takes a page frame from the machine and ksmd works for all of it, so
these are for a machine that is the driver's own.
"""

from __future__ import annotations

import ctypes
import errno
import time

from spec.kernel.abilities import KSM, memory_nodes
from spec.kernel.pin import PATIENCE
from spec.kernel.syscalls import madvise, number_of, syscall

# asm-generic/mman-common.h, linux/mempolicy.h
MADV_MERGEABLE, MADV_SOFT_OFFLINE = 12, 101
MPOL_MF_MOVE_ALL = 4
SCANS = 3
"""Full scans that ksmd needs: it merges what did not change between two of them."""


def move_to_another_node(address: int) -> None:
    """``move_pages(2)`` of one page of the calling process to another NUMA node.

    A page that cannot be migrated stays where it is; that is no error.
    """
    page, status = (ctypes.c_void_p * 1)(address), (ctypes.c_int * 1)()
    _move_pages(page, None, status)
    others = [node for node in memory_nodes() if node != status[0]]
    if status[0] >= 0:
        _move_pages(page, (ctypes.c_int * 1)(others[0]), status)


def _move_pages(
    page: ctypes.Array[ctypes.c_void_p],
    nodes: ctypes.Array[ctypes.c_int] | None,
    status: ctypes.Array[ctypes.c_int],
) -> None:
    number = number_of("move_pages")
    syscall("move_pages", number, 0, 1, page, nodes, status, MPOL_MF_MOVE_ALL)


def soft_offline(address: int, length: int) -> None:
    """Migrate a page by taking its frame out of use (``soft_offline_page``).

    Raises:
        OSError: EINVAL: the kernel has no memory failure handling.
    """
    try:
        madvise(address, length, MADV_SOFT_OFFLINE)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EAGAIN, errno.EIO, errno.ENOMEM):
            raise


def run_ksmd() -> None:
    """Let ksmd look at everything that is mergeable, and stop it again.

    Raises:
        OSError: the machine has no KSM, or does not let us.
    """
    settings = {"pages_to_scan": "10000", "sleep_millisecs": "0"}
    for name, value in settings.items():
        (KSM / name).write_text(value)
    begun = _full_scans()
    (KSM / "run").write_text("1")
    try:
        end = time.monotonic() + PATIENCE
        while _full_scans() < begun + SCANS:
            if time.monotonic() > end:
                raise OSError(errno.ETIMEDOUT, "does not get on", "ksmd")
            time.sleep(0.005)
    finally:
        (KSM / "run").write_text("0")


def _full_scans() -> int:
    return int((KSM / "full_scans").read_text())
