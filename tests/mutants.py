"""Operations that are changed: a test left out, two steps in the other order."""

from __future__ import annotations

import importlib
import inspect
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spec.prover import positions


@dataclass(frozen=True)
class Mutant:
    """A change to the text of one function.

    Attributes:
        name: what is wrong with it.
        where: the function, with its module.
        old, new: the text that is replaced, and by what.
        operation: one that calls it.
        fails: where the obligation stands that fails.
        clause: what the smallest counterexample to it does not keep.
        slow: it takes long, and others of its kind are quick.
    """

    name: str
    where: str
    old: str
    new: str
    operation: str
    fails: str
    clause: str
    slow: bool = False


@contextmanager
def changed(where: str, old: str, new: str) -> Iterator[None]:
    """The function with other text, in every module that calls it by name."""
    module, _, name = where.rpartition(".")
    home = importlib.import_module(f"spec.{module}")
    original = getattr(home, name)
    text = inspect.getsource(original)
    assert old in text, f"{where} has no {old!r}"
    file = f"<changed {name}>"
    source = text.replace(old, new)
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    users = [m for n, m in sys.modules.items() if n.startswith("spec.")]
    users = [m for m in users if vars(m).get(name) is original]
    scope: dict[str, Any] = vars(home)
    exec(compile(source, file, "exec"), scope)
    for user in users:
        setattr(user, name, scope[name])
    forget()
    try:
        yield
    finally:
        for user in users:
            setattr(user, name, original)
        forget()


def forget() -> None:
    """Let the prover read the text of functions anew."""
    positions.code_of.cache_clear()
    positions.next_statement.cache_clear()


SAME = """\
    if mm.pte[va] != orig_pte:
        ptl_unlock(mm)
        return
"""
HOLD = """\
        get_page(old)
        mm.machine.cpu.hold = old.name
"""
RELEASE = """\
    if old is not None:
        mm.machine.cpu.hold = None
        put_page(old)
"""
CLEAR = """\
    if page.anon_exclusive and obey(mm, "AE-FORK-3"):
        yield
        page.anon_exclusive = False
"""
PROTECT = """\
    if pte.writable and obey(mm, "AE-FORK-5"):
        yield
        mm.pte[va] = Pte(page.name, False, pte.trap)
"""
GIVE = """\
    yield
    get_page(page)
    add_mapping(child, va, page, writable=False)
"""
MAY_SET = """\
    if not mm.model.may_set_bit(mm, pte, page):
        return False
"""
ENTRY = """\
            yield
            set_swap_pte"""
LATE_ENTRY = """\
            ptl_unlock(mm)
            yield
            yield from ptl_lock(mm)
            set_swap_pte"""
LEADS = "        pfn = leads_to(mm, va)\n"
FOLLOW = """\
        for ref in references_through(mm, va):
            if ref.pfn == pfn:
                ref.va = new_va
"""
MOVE = "        move_entry(mm, va, new_va)\n"
STILL = """\
        if not is_movable(mm, page):
            return False
"""
UPGRADE = 'protection == "rw" and can_change_pte_writable(mm, pte, page)'
NO_PTL = "yield from ()"
MERGE = "merge in one process"
CLEAR_PTE = """\
    if obey(mm, "AE-KSM-4"):
        ptep_clear_flush(mm, va, page)
        yield
"""
COUNT = """\
    if unexpected_references(page) != 0 and obey(mm, "AE-KSM-3"):
        set_pte_at(mm, va, page, pte)
        ptl_unlock(mm)
        yield
        return None
"""
CLEAR_BIT = """\
    if page.anon_exclusive and obey(mm, "AE-KSM-5"):
        yield
        page.anon_exclusive = False
    yield
"""
RESTORE = """\
    read_only = Pte(page.name, writable=False, trap=pte.trap)
    set_pte_at(mm, va, page, read_only)
"""

TRAPPED = """\
    if pte.trap and obey(mm, "AE-WP-2"):
        return False
"""
NOTE = "            note_write(mm, va, orig_pte)\n"
TRAP = """\
        mm.pte[va] = Pte(page.name, False, trap)
        if trap != "numa":
            mm.tracked[va] = trap
"""
LATE_TRAP = """\
        if trap != "numa":
            mm.tracked[va] = trap
        yield
        mm.pte[va] = Pte(page.name, False, trap)
"""

MUTANTS = (
    Mutant(
        "the fault does not compare the PTE under the lock",
        "cow.do_wp_page",
        SAME,
        "",
        "write",
        "ptl_lock",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "the fault keeps a page whatever its count",
        "cow.wp_can_reuse_anon_folio",
        "reuse = may_keep(mm, page)",
        "reuse = True",
        "write",
        "wp_can_reuse_anon_folio",
        "owner is alone",
    ),
    Mutant(
        "the copy is mapped without a look at the PTE",
        "cow.wp_page_copy",
        'mm.pte[va] == orig_pte or not obey(mm, "AE-COW-4")',
        "True",
        "write",
        "wp_page_copy",
        "promise is kept",
        slow=True,
    ),
    Mutant(
        "the end of a NUMA hint makes any PTE writable",
        "fault.do_numa_page",
        'mm.vma[va] == "rw" and upgrade',
        'mm.vma[va] == "rw"',
        "read",
        "ptl_lock",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "the page is not held while it is copied",
        "cow.wp_page_copy",
        HOLD,
        "",
        "write",
        "ptl_lock",
        "while copying",
        slow=True,
    ),
    Mutant(
        "the page is held for ever after it was copied",
        "cow.wp_page_copy",
        RELEASE,
        "",
        "write",
        "ptl_lock",
        "AE-INV-3",
        slow=True,
    ),
    Mutant(
        "fork write-protects after the child maps the page",
        "fork.copy_present_pte",
        PROTECT + GIVE,
        GIVE + PROTECT,
        "fork",
        "copy_present_pte",
        "before the child maps",
        slow=True,
    ),
    Mutant(
        "fork clears the bit after the child maps the page",
        "fork.copy_present_pte",
        CLEAR + PROTECT + GIVE,
        PROTECT + GIVE + CLEAR,
        "fork",
        "fork",
        "before the child maps",
        slow=True,
    ),
    Mutant(
        "fork does not look whether it may share",
        "fork.copy_present_pte",
        "if not mm.model.may_share(mm, page):",
        "if False:",
        "fork",
        "fork",
        "before the bit is cleared",
    ),
    Mutant(
        "fork does not make the sequence count odd",
        "fork.fork",
        "mm.write_protect_seq += 1",
        "mm.write_protect_seq += 2",
        "fork",
        "fork",
        "before the pte is protected",
    ),
    Mutant(
        "fork walks without the page table lock",
        "fork.copy_pte_range",
        "yield from ptl_lock(mm)",
        "yield from ()",
        "fork",
        "fork",
        "promise is kept",
        slow=True,
    ),
    Mutant(
        "GUP sets the bit of any page",
        "gup.is_or_becomes_exclusive",
        MAY_SET,
        "",
        "gup ro get slow",
        "ptl_lock",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "GUP-fast does not compare the sequence count",
        "gup_fast.gup_fast",
        "if mm.write_protect_seq != seq:",
        "if False:",
        "gup ro pin fast-only",
        "gup_fast_pte_range",
        "promise is kept",
    ),
    Mutant(
        "GUP-fast does not compare the PTE",
        "gup_fast.gup_fast_pte_range",
        "if mm.pte[va] != pte and",
        "if False and",
        "gup ro get fast-only",
        "gup_fast_pte_range",
        "references are the owners",
    ),
    Mutant(
        "GUP-fast keeps its reference when it gives up",
        "gup_fast.gup_fast_pte_range",
        'obey(mm, "AE-FAST-3"):\n        return put(mm, ref)',
        'obey(mm, "AE-FAST-3"):\n        return False',
        "gup ro get fast-only",
        "gup_fast_pte_range",
        "pending references have a walker",
        slow=True,
    ),
    Mutant(
        "swap-out drops the page table lock between test and entry",
        "reclaim.try_to_unmap_one",
        ENTRY,
        LATE_ENTRY,
        "reclaim",
        "try_to_unmap_one",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "migration does not look who uses the page",
        "migration.try_to_migrate_one",
        "if not may_migrate(mm, page):",
        "if False:",
        "migrate",
        "try_to_migrate_one",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "migration leaves the new page unlocked",
        "migration.folio_migrate_mapping",
        "    new.locked = True\n",
        "",
        "migrate",
        "ptl_lock",
        "before the copy",
        slow=True,
    ),
    Mutant(
        "mprotect makes any PTE writable",
        "protect.change_pte_range",
        UPGRADE,
        'protection == "rw" and isinstance(pte, Pte) and page is not None',
        "mprotect rw",
        "ptl_lock",
        "owner is alone",
    ),
    Mutant(
        "mremap leaves the new address mapped",
        "move.mremap",
        "yield from zap_pte_range(mm, new_va)",
        "yield from ()",
        "mremap",
        "",
        "before the move",
    ),
    Mutant(
        "mremap moves the entry before it looks where that leads",
        "move.mremap",
        LEADS + FOLLOW + MOVE,
        MOVE + LEADS + FOLLOW,
        "mremap",
        "mremap",
        "references are the owners",
        slow=True,
    ),
    Mutant(
        "mremap takes references along that are to another page",
        "move.mremap",
        "if ref.pfn == pfn:",
        "if True:",
        "mremap",
        "mremap",
        "used addresses are known",
        slow=True,
    ),
    Mutant(
        "mremap moves without the page table lock",
        "move.mremap",
        "yield from ptl_lock(mm)",
        "yield from ()",
        "mremap",
        "mremap",
        "promise is kept",
        slow=True,
    ),
    Mutant(
        "UFFDIO_MOVE does not look again after it has cleared the PTE",
        "move.move_pages_pte",
        STILL,
        "",
        "uffdio move",
        "move_pages_pte",
        "references are the owners",
    ),
    Mutant(
        "UFFDIO_MOVE does not look whether the new address is free",
        "move.uffdio_move",
        "mm.pte[new_va] is None and ",
        "",
        "uffdio move",
        "",
        "promise is kept",
        slow=True,
    ),
    Mutant(
        "KSM does not compare the counts",
        "ksm.write_protect_page",
        '!= 0 and obey(mm, "AE-KSM-3")',
        "!= 0 and False",
        MERGE,
        "write_protect_page",
        "before ksm clears the bit",
        slow=True,
    ),
    Mutant(
        "KSM leaves the PTE writable",
        "ksm.write_protect_page",
        "writable=False",
        "writable=pte.writable",
        MERGE,
        "write_protect_page",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "KSM looks at the counts before it clears the PTE",
        "ksm.write_protect_page",
        CLEAR_PTE + COUNT,
        COUNT + CLEAR_PTE,
        MERGE,
        "write_protect_page",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "KSM clears the bit when the PTE is back",
        "ksm.write_protect_page",
        CLEAR_BIT + RESTORE,
        RESTORE + CLEAR_BIT,
        MERGE,
        "write_protect_page",
        "while suspended",
        slow=True,
    ),
    Mutant(
        "KSM does not lock the page",
        "ksm.try_to_merge_one_page",
        "if folio_trylock(page):",
        "if True:",
        MERGE,
        "write_protect_page",
        "while write protected",
        slow=True,
    ),
    Mutant(
        "KSM does not hold the page that it keeps",
        "ksm.ksm_merge",
        "    get_page(kpage)\n",
        "",
        MERGE,
        "",
        "AE-INV-3",
        slow=True,
    ),
    Mutant(
        "KSM maps the page writable",
        "ksm.replace_page",
        "Pte(kpage.name, False, orig_pte.trap)",
        "Pte(kpage.name, True, orig_pte.trap)",
        MERGE,
        "write_protect_page",
        "owner is alone",
        slow=True,
    ),
    Mutant(
        "KSM replaces a page by one that is no KSM page",
        "ksm.try_to_merge_two_pages",
        "    if kpage.ksm:\n",
        "    if True:\n",
        MERGE,
        "try_to_merge_one_page",
        "while one is merged",
        slow=True,
    ),
    Mutant(
        "put does not count",
        "counts.put_page",
        "    folio.refcount -= 1\n",
        "",
        "put",
        "",
        "AE-INV-3",
    ),
    Mutant(
        "mprotect does not look for a trap",
        "protect.can_change_pte_writable",
        TRAPPED,
        "",
        "mprotect rw",
        "ptl_lock",
        "tracked addresses have a trap",
        slow=True,
    ),
    Mutant(
        "soft-dirty waits for a write before the PTE has its trap",
        "protect.set_trap",
        TRAP,
        LATE_TRAP,
        "clear_refs",
        "ptl_lock",
        "tracked addresses have a trap",
        slow=True,
    ),
    Mutant(
        "mprotect forgets the trap of what it write-protects",
        "protect.change_pte_range",
        "Pte(page.name, False, pte.trap)",
        "Pte(page.name, False)",
        "mprotect r",
        "ptl_lock",
        "tracked addresses have a trap",
        slow=True,
    ),
    Mutant(
        "reclaim unmaps a PTE with a trap",
        "reclaim.try_to_unmap_one",
        "if not pte.trap and may_unmap_now",
        "if not pte.trap[:0] and may_unmap_now",
        "reclaim",
        "try_to_unmap_one",
        "before the swap entry",
        slow=True,
    ),
    Mutant(
        "migration forgets the trap",
        "migration_entry.make_migration_entry",
        '"" if pte.trap == "numa" else pte.trap',
        '""',
        "migrate",
        "try_to_migrate_one",
        "tracked addresses have a trap",
        slow=True,
    ),
    Mutant(
        "a write that is copied is not noticed",
        "cow.wp_page_copy",
        NOTE,
        "            pass\n",
        "write",
        "wp_page_copy",
        "tracked addresses have a trap",
        slow=True,
    ),
)
