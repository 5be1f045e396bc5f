"""Named bounds: which machine is explored, and what its CPUs may do."""
from __future__ import annotations
from dataclasses import dataclass, field
from functools import partial
from spec import fault, fork, gup
from spec.bit import Foll
from spec.memory import Machine, Names, Pte, add_mapping, alloc_page, put_page
from spec.rules import Step, load
from spec.checker.program import Program, StateProperty, StepProperty, rest
from spec.checker.steps import Blocked

def transient(mm, va):
    """LRU batch, speculative get."""
    pte = mm.pte[va]
    page = mm.machine.pages.get(pte.pfn) if pte else None
    if page is None: return
    page.refcount += 1
    mm.machine.cpu.hold = page.name
    yield
    mm.machine.cpu.hold = None
    put_page(page)

def device_write(ref, machine):
    page = machine.pages[ref.pfn]
    page.value = 1

def options(machine, menu):
    live = [mm for mm in machine.mms.values() if mm.state == "live"]
    own = list(machine.refs)[int(machine.cpu.name[3:])] if machine.cpu.name[3:] < str(len(machine.refs)) else None
    free_ref = own if own and machine.refs[own].state == "free" else None
    unborn = next((m.name for m in machine.mms.values() if m.state == "unborn"), None)
    out = []
    for op in menu:
        if op in ("put", "dwrite"):
            out += [(op, r.name) for r in machine.refs.values() if r.state == "live" and r.pfn != "zero" and (op == "put" or r.write)]
        elif op.startswith("gup"):
            if free_ref: out += [(op, m.name, free_ref) for m in live]
        elif op == "fork":
            if unborn: out += [(op, m.name, unborn) for m in live]
        else:
            out += [(op, m.name) for m in live]
    return out

def make(machine, choice):
    op, *args = choice
    m = machine
    va = "x"
    if op == "put": return _g(gup.put, machine.mms["A"], m.refs[args[0]])
    if op == "dwrite": return _g(device_write, m.refs[args[0]], m)
    mm = m.mms[args[0]]
    if op == "write": return fault.write(mm, va, 0)
    if op == "read": return fault.read(mm, va)
    if op == "munmap": return fault.munmap(mm, va)
    if op == "exit": return fault.exit(mm)
    if op == "mprot r": return fault.mprotect(mm, va, "r")
    if op == "mprot rw": return fault.mprotect(mm, va, "rw")
    if op == "transient": return transient(mm, va)
    if op == "fork": return fork.fork(mm, m.mms[args[1]])
    _, how, w, p = op.split()
    f = {"slow": gup.get_user_pages, "fast": gup.get_user_pages_fast, "only": gup.get_user_pages_fast_only}[how]
    return f(mm, va, m.refs[args[1]], Foll(write=w == "rw", pin=p == "pin"))
def _g(f, *a):
    f(*a)
    return
    yield

def client(names, model, cpu, menu, n, without, cells):
    machine = Machine(names, model, cells, cpu, without)
    for _ in range(n):
        yield rest
        steps = make(machine, cells.choose("op", options(machine, menu)))
        wait = next(steps, None)
        if wait is not None and not wait():
            raise Blocked
        yield from steps

def program(names, menu, n, model, without=frozenset()):
    rules = load()
    threads = {cpu: partial(client, names, model, cpu, menu, n, without) for cpu in names.cpus}
    init = []
    for kind in ("none", "page"):
        m = Machine(names, model)
        a = m.mms["A"]; a.state = "live"; a.vma["x"] = "rw"
        if kind == "page":
            p = alloc_page(m); add_mapping(a, "x", p, writable=True)
        init.append(dict(m.cells.values))
    before, after = Machine(names, None, Switch()), Machine(names, None, Switch())
    step = Step(before, after, set())
    def on_state(r):
        def holds(cells):
            before.cells.now = cells
            return r.holds(before)
        return holds
    def on_step(r):
        def holds(b, a, w):
            before.cells.now = b; after.cells.now = a; step.written = w
            return r.holds(step)
        return holds
    states = [StateProperty(r.id, on_state(r)) for r in rules.values() if r.over == "state"]
    steps = [StepProperty(r.id, on_step(r), r.id not in without) for r in rules.values() if r.over == "step" and model.name in r.models]
    return Program(init, threads, states, steps)

class Switch:
    def read(self, key): return self.now.read(key)
    def write(self, k, v): raise TypeError
