"""Who takes references, of which kind, in which release.

Read in 6.1, 6.12 and 7.3; releases that were not read are marked on the page. What a
reference of each kind may rely on is computed (`spec.promises`).
"""

from __future__ import annotations

from dataclasses import dataclass

from spec.history import parse
from spec.promises import KINDS, Kind

VERIFIED = ("6.1", "6.12", "7.3")
"""The releases whose source was read."""


@dataclass(frozen=True)
class Use:
    """The reference that a user takes from some release on.

    Attributes:
        kind: id of the kind of reference (`spec.promises.KINDS`).
        since: the first release; empty if it was so in the oldest one read.
        force: whether FOLL_FORCE is set as well.
    """

    kind: str
    since: str = ""
    force: bool = False


@dataclass(frozen=True)
class Consumer:
    """A user of GUP.

    Attributes:
        id: for links.
        name: what its authors or its users call it.
        call: how it reaches GUP.
        device: what it does to the memory: ``reads``, ``writes`` or both.
        uses: its references in the order of releases.
        duration: ``short`` for one request, ``long`` until user space lets go, ``call``
            if the reference is put before the call returns.
        note: what else matters.
    """

    id: str
    name: str
    call: str
    device: str
    uses: tuple[Use, ...]
    duration: str
    note: str = ""

    def use(self, release: str) -> Use | None:
        """The reference that it takes in a release; ``None`` if that was not read."""
        found = None
        for use in self.uses:
            if not use.since or parse(use.since) <= parse(release):
                found = use
        return found

    def kind(self, release: str) -> Kind | None:
        """The kind of that reference."""
        use = self.use(release)
        return None if use is None else KINDS[use.kind]


_EXTRACT = "iov_iter_extract_pages; up to 6.2 iov_iter_get_pages2"
_GET_PAGES = "iov_iter_get_pages2, iov_iter_get_pages_alloc2"

CONSUMERS = (
    Consumer(
        "vmsplice",
        "vmsplice, user memory to a pipe",
        "iter_to_pipe, iov_iter_get_pages2, get_user_pages_fast",
        "reads",
        (Use("get-ro"),),
        "long",
        "The pipe may be read much later. On hugetlb even other processes' later "
        "writes are seen.",
    ),
    Consumer(
        "o-direct-read",
        "O_DIRECT read(2): block devices, iomap",
        _EXTRACT,
        "writes",
        (Use("get-rw"), Use("pin-rw", "6.3")),
        "short",
    ),
    Consumer(
        "o-direct-write",
        "O_DIRECT write(2): block devices, iomap",
        _EXTRACT,
        "reads",
        (Use("get-ro"), Use("pin-ro", "6.3")),
        "short",
    ),
    Consumer(
        "direct-io-read",
        "O_DIRECT read(2): fs/direct-io.c (older file systems)",
        "iov_iter_extract_pages; in 6.1 iov_iter_get_pages2",
        "writes",
        (Use("get-rw"), Use("pin-rw", "6.5")),
        "short",
        "1ccf164ec866 converts it (6.5; the release was not looked up).",
    ),
    Consumer(
        "direct-io-write",
        "O_DIRECT write(2): fs/direct-io.c (older file systems)",
        "iov_iter_extract_pages; in 6.1 iov_iter_get_pages2",
        "reads",
        (Use("get-ro"), Use("pin-ro", "6.5")),
        "short",
        "1ccf164ec866 converts it (6.5; the release was not looked up).",
    ),
    Consumer(
        "blk-map-in",
        "SG_IO and other pass-through, bio integrity, netfs: data to memory",
        "iov_iter_extract_pages",
        "writes",
        (Use("pin-rw", "6.12"),),
        "short",
    ),
    Consumer(
        "blk-map-out",
        "SG_IO and other pass-through, netfs, AF_ALG, splice to a socket: from memory",
        "iov_iter_extract_pages",
        "reads",
        (Use("pin-ro", "6.12"),),
        "short",
    ),
    Consumer(
        "fuse-read",
        "FUSE direct I/O, read(2)",
        "iov_iter_extract_pages; in 6.1 iov_iter_get_pages2",
        "writes",
        (Use("get-rw"), Use("pin-rw", "6.12")),
        "short",
        "Converted at some time after 6.1. The server's /dev/fuse copies with FOLL_GET "
        "in all three releases.",
    ),
    Consumer(
        "fuse-write",
        "FUSE direct I/O, write(2)",
        "iov_iter_extract_pages; in 6.1 iov_iter_get_pages2",
        "reads",
        (Use("get-ro"), Use("pin-ro", "6.12")),
        "short",
        "Converted at some time after 6.1. The server's /dev/fuse copies with FOLL_GET "
        "in all three releases.",
    ),
    Consumer(
        "nfs-read",
        "NFS and Ceph direct I/O, read(2); 9p (unverified)",
        _GET_PAGES,
        "writes",
        (Use("get-rw"),),
        "short",
    ),
    Consumer(
        "nfs-write",
        "NFS and Ceph direct I/O, write(2); 9p (unverified)",
        _GET_PAGES,
        "reads",
        (Use("get-ro"),),
        "short",
    ),
    Consumer(
        "zerocopy-send",
        "MSG_ZEROCOPY and other zerocopy sends (datagram.c, skmsg.c)",
        _GET_PAGES,
        "reads",
        (Use("get-ro"),),
        "short",
        "The network may send again much later.",
    ),
    Consumer(
        "io-uring",
        "io_uring fixed buffers and provided rings",
        "io_pin_pages: pin_user_pages_fast; in 6.1 pin_user_pages",
        "reads and writes",
        (Use("longterm-rw"),),
        "long",
        "FOLL_WRITE always, also for buffers that are only written to files.",
    ),
    Consumer(
        "rdma",
        "RDMA ib_umem, writable memory region",
        "ib_umem_get, pin_user_pages_fast",
        "reads and writes",
        (Use("longterm-rw"),),
        "long",
    ),
    Consumer(
        "rdma-ro",
        "RDMA ib_umem, read-only memory region",
        "ib_umem_get, pin_user_pages_fast",
        "reads",
        (Use("longterm-rw", force=True), Use("longterm-ro", "6.2")),
        "long",
        "Up to 6.1 FOLL_FORCE broke COW; b40656aa7d55 (6.2) takes the pin to read.",
    ),
    Consumer(
        "vfio",
        "VFIO type 1, iommufd, s390 and powerpc IOMMUs: the device may write",
        "pin_user_pages_remote, pin_user_pages_fast",
        "reads and writes",
        (Use("longterm-rw"),),
        "long",
        "A pin of another process counts for that process's fork.",
    ),
    Consumer(
        "vfio-ro",
        "VFIO type 1, iommufd: mapped without IOMMU_WRITE",
        "pin_user_pages_remote, pin_user_pages_fast",
        "reads",
        (Use("longterm-ro"),),
        "long",
    ),
    Consumer(
        "af-xdp",
        "AF_XDP umem",
        "xdp_umem_pin_pages, pin_user_pages",
        "reads and writes",
        (Use("longterm-rw"),),
        "long",
    ),
    Consumer(
        "kvm",
        "KVM, guest memory",
        "hva_to_pfn: get_user_pages_unlocked, get_user_page_fast_only",
        "reads and writes",
        (Use("get-rw"),),
        "call",
        "MMU notifiers take the place of the reference: the guest follows the page "
        "tables. What is said of fork does not concern it.",
    ),
    Consumer(
        "sev",
        "SEV encrypted regions, acrn, Xen",
        "pin_user_pages_fast",
        "reads and writes",
        (Use("longterm-rw"),),
        "long",
        "Not all of them set FOLL_LONGTERM.",
    ),
    Consumer(
        "process-vm-readv",
        "process_vm_readv(2)",
        "process_vm_rw_core, pin_user_pages_remote",
        "reads",
        (Use("pin-ro"),),
        "call",
        "Copies at once. It unshares a page that COW shares (5.19).",
    ),
    Consumer(
        "process-vm-writev",
        "process_vm_writev(2)",
        "process_vm_rw_core, pin_user_pages_remote",
        "writes",
        (Use("pin-rw"),),
        "call",
        "Copies at once.",
    ),
    Consumer(
        "ptrace-peek",
        "ptrace PEEK, read of /proc/PID/mem",
        "access_remote_vm, get_user_pages_remote",
        "reads",
        (Use("get-ro", force=True),),
        "call",
        "Copies at once, under mmap_lock.",
    ),
    Consumer(
        "ptrace-poke",
        "ptrace POKE, write to /proc/PID/mem",
        "access_remote_vm, get_user_pages_remote",
        "writes",
        (Use("get-rw", force=True),),
        "call",
        "Copies at once, under mmap_lock. Through a read-only PTE it needs the bit "
        "(5535be309971, 6.0).",
    ),
    Consumer(
        "uprobes",
        "uprobes",
        "uprobe_write_opcode, get_user_pages_remote",
        "writes",
        (Use("get-rw", force=True),),
        "call",
        "7.3 changes only a page with the bit, under the page table lock.",
    ),
    Consumer(
        "futex",
        "futex, mempolicy, core dumps, soft offline",
        "get_user_pages_fast, get_user_pages_unlocked",
        "reads",
        (Use("get-ro"),),
        "call",
        "They look the page up; nothing relies on its contents later.",
    ),
    Consumer(
        "hmm",
        "device-exclusive access (HMM atomics)",
        "make_device_exclusive",
        "reads and writes",
        (Use("get-rw"),),
        "call",
        "Then an entry takes the PTE's place, and MMU notifiers follow it (AE-ASM-5).",
    ),
    Consumer(
        "ublk",
        "ublk registered buffers, BPF, user_events",
        "pin_user_pages_fast, pin_user_pages_remote",
        "reads and writes",
        (Use("longterm-rw", "6.12"),),
        "long",
        "Not all of them set FOLL_LONGTERM.",
    ),
)
"""Every user of GUP that was looked at, but for the kernel's own test (`gup_test`)."""
