# %%
from __future__ import annotations
from spec.memory import Machine, ZERO_PAGE
from spec.rules import rule, Step
def mappings(machine, page):
    return [mm for mm in machine.mms.values() for va in machine.names.vas
        if (pte := mm.pte[va]) is not None and pte.pfn == page.name]

@rule("AE-INV-1", source="x", over="state")
def no_missed_cow(machine: Machine) -> bool:
    """What one process writes never reaches another."""
    for page in machine.pages.values():
        if page.refcount < 2: continue
        maps = mappings(machine, page)
        refs = [r for r in machine.refs.values() if r.state == "live" and r.pfn == page.name]
        writers = {mm.name for mm in maps if mm.pte["x"].writable} | {r.mm for r in refs if r.write and r.protected}
        readers = {mm.name for mm in maps} | {r.mm for r in refs}
        if any(readers - {w} for w in writers): return False
    return True

@rule("AE-INV-2", source="x", over="state")
def no_wrong_cow(machine: Machine) -> bool:
    """While..."""
    for r in machine.refs.values():
        if r.state == "live" and r.protected:
            pte = machine.mms[r.mm].pte[r.va]
            if pte is not None and pte.pfn != r.pfn: return False
    return True

@rule("AE-INV-3", source="x", over="state")
def counts(machine: Machine) -> bool:
    """Counts exact."""
    for page in machine.pages.values():
        maps = len(mappings(machine, page))
        refs = [r for r in machine.refs.values() if r.pfn == page.name]
        held = sum(c.hold == page.name for c in machine.cpus.values())
        if page.mapcount != maps or page.pincount != sum(r.pin for r in refs): return False
        if page.refcount != maps + len(refs) + held: return False
    return True

@rule("AE-INV-4", source="x", over="state")
def one_mapping(machine: Machine) -> bool:
    """Exclusive page at most one mapping."""
    return all(len(mappings(machine, p)) <= 1 for p in machine.pages.values() if p.anon_exclusive)

@rule("AE-INV-5", source="x", over="step")
def fork_free(step: Step) -> bool:
    """fork without GUP requests copies nothing."""
    for child in step.copies_into_child():
        for m in step.before.mms.values():
            if m.mmap_lock == -1 and m.write_protect_seq % 2 == 1 and not m.asked_gup: return False
    return True
