# %% [markdown]
# # What if fork shared without looking?
#
# This tutorial takes the question out of `fork()`, looks at what breaks, repairs it and
# cites the rule. It takes ten minutes and needs nothing but this page: *Run* below a
# cell runs it in your browser, after all cells before it. The first run loads Python.
#
# ## What is checked
#
# Two CPUs and a process A that has written to a page. CPU 0 forks and writes. CPU 1
# asks GUP for a pin, lets go of it and writes. `check()` tries all interleavings. It
# stops at the first step that breaks a rule, or leads to a state that breaks a
# guarantee, and draws the shortest way there.

# %%
import spec.fork
from spec.bounds import program
from spec.checker.search import search
from spec.clients import section
from spec.counts import add_mapping, get_page
from spec.decisions import sketch
from spec.memory import Pte
from spec.publish.citations import cite
from spec.publish.traces import violation_text
from spec.rules import find

# %%
SECTION = section(
    ("A", "fork; write 1"),
    ("A", "gup ro pin; put; write 2"),
    starts=("write",),
    processes=2,
    pages=4,
)


def check(*without):
    """What breaks first; `without` names rules that the operations do not obey."""
    verdict = search(program(SECTION, sketch, frozenset(without)))
    if verdict.holds:
        print("All rules and guarantees hold in all interleavings.")
        return None
    print(violation_text(verdict.violations[0]))
    return verdict.violations[0].property


assert check() is None

# %% [markdown]
# ## Take the question out
#
# `copy_present_pte()` asks `may_share()` before anything else. Here is the function of
# [the chapter on fork](../spec/fork.py) without the question, and without the copy that
# a "no" leads to. The last line puts it in the place of the other.


# %%
def copy_present_pte(mm, child, va, pte, page):
    """Share the page with the child, whoever holds it."""
    if page.anon_exclusive:
        yield
        page.anon_exclusive = False
    if pte.writable:
        yield
        mm.pte[va] = Pte(page.name, writable=False)
    yield
    get_page(page)
    add_mapping(child, va, page, writable=False)


spec.fork.copy_present_pte = copy_present_pte

# %%
assert check() == "AE-INV-7"

# %% [markdown]
# ## Read the trace
#
# One column for each CPU, one step for each number; a step is atomic. Below its
# operation stands what it wrote. Read it from the end.
#
# 1. The last step clears the bit of p1.
# 2. A pin on p1 lives: CPU 1 has taken it, and nothing has let go of it.
# 3. So the state breaks [AE-INV-7](../spec/guarantees.py#AE-INV-7): the bit is what the
#    holder relies on, and the holder is still there.
#
# No value is wrong yet. It soon would be: the page is about to be mapped read-only in
# both processes, and the next write of A copies. What A writes from then on goes to the
# copy, and the pin keeps the old page. To see that, let `may_share()` ignore
# [AE-FORK-2](../spec/fork.py#AE-FORK-2). While a rule is taken away, only guarantees
# that somebody can notice are checked.

# %%
assert check("AE-FORK-2") == "AE-INV-2"

# %% [markdown]
# [AE-INV-2](../spec/guarantees.py#AE-INV-2) is the promise that GUP makes. Each rule
# has such a trace; [Ablation](../reference/ablation.md) has them all.
#
# ## Repair it
#
# Give the function its question back. On this page you can do it by hand: *Edit* the
# cell that defines `copy_present_pte()`, put the two lines below before the first line
# of the body, and run `check()` again.
#
# ``` { .python }
# if not mm.model.may_share(mm, page):
#     return spec.fork.copy_present_page(mm, child, va, page)
# ```


# %%
def looks_first(mm, child, va, pte, page):
    """Share the page with the child, or give the child a copy."""
    if not mm.model.may_share(mm, page):
        return spec.fork.copy_present_page(mm, child, va, page)
    yield from copy_present_pte(mm, child, va, pte, page)


spec.fork.copy_present_pte = looks_first
assert check() is None

# %% [markdown]
# It holds in this section. Try a larger one: add `gup ro get fast` to the menu of
# CPU 1, or write `"AB"` for the processes of CPU 0, so that the child acts, too.
#
# ## Cite the rule
#
# What you would answer to the patch that takes the question out:

# %%
print(cite(find("AE-FORK-2")))

# %% [markdown]
# [How to cite](../how-to-cite.md) says what the lines mean. To check a change of your
# own, go on with [how to model a patch](model-your-patch.py).
