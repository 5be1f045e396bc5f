"""The machine that the driver runs on: what it may use of it, and why not the rest."""

from __future__ import annotations

from spec.kernel import whole
from spec.kernel.abilities import (
    KSM,
    SWAPS,
    direct_io_pins,
    has_swap,
    memory_nodes,
)
from spec.kernel.pagemap import Entry, Pages
from spec.kernel.process import Unavailable
from spec.kernel.syscalls import swapoff, swapon


class Machine:
    """What is at the driver's disposal. Each question raises `Unavailable` for no.

    Args:
        pages: the files through which pages are observed.
        own: whether nobody else uses the machine, so that all of it may be changed.
    """

    def __init__(self, pages: Pages, *, own: bool = False) -> None:
        self.pages = pages
        self.own = own

    def needs_swap(self) -> None:
        """Something can be swapped out."""
        if not has_swap():
            raise Unavailable("swapping out needs swap that is on; none is")

    def can_reclaim(self, entry: Entry) -> None:
        """``MADV_PAGEOUT`` reclaims this page just as reclaim would."""
        if self.pages.values_only:
            raise Unavailable("who cannot see page frames cannot tell what to reclaim")
        if entry.kind == "page" and entry.mapcount > 1:
            raise Unavailable(
                "MADV_PAGEOUT leaves alone what several map, and no other system "
                "call has the kernel reclaim a page"
            )
        if entry.swapbacked:
            self.needs_swap()

    def migration(self) -> str:
        """The worker's word for what migrates a page."""
        if len(memory_nodes()) > 1:
            return "migrate"
        self._needs_own("migration without a second NUMA node takes a page frame")
        return "soft offline"

    def can_keep_direct_io(self) -> None:
        """O_DIRECT takes FOLL_GET references, which a disk of ours can delay."""
        if direct_io_pins() is not False:
            raise Unavailable("O_DIRECT of this kernel is not known to use FOLL_GET")
        self._needs_own("a disk that stands still is for the whole machine")

    def needs_ksm(self) -> None:
        """ksmd may be run."""
        if not KSM.is_dir():
            raise Unavailable("this kernel has no KSM")
        self._needs_own("ksmd runs for the whole machine")

    def run_ksmd(self) -> None:
        """Let ksmd merge what it finds."""
        try:
            whole.run_ksmd()
        except OSError as error:
            raise Unavailable(f"ksmd: {error.strerror}") from error

    def swap_in_everything(self) -> None:
        """``swapoff(2)`` and ``swapon(2)`` of all swap."""
        self.needs_swap()
        self._needs_own("swapoff is for the whole machine")
        used = [row.split()[0] for row in SWAPS.read_text().splitlines()[1:]]
        for name in used:
            swapoff(name)
        for name in used:
            swapon(name)

    def _needs_own(self, why: str) -> None:
        if not self.own:
            raise Unavailable(f"{why}; only with --own-machine, as in a guest")
