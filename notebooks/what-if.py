# %% [markdown]
# # What if fork shared without looking?
#
# This notebook changes a rule and watches what breaks. Nothing is hidden in it: the
# decision is five lines, the checker does the rest.
#
# ## The decision
#
# The sketch lets `fork()` share a page if its bit is clear, or if the parent's
# mapping is its only reference ([AE-FORK-2](../spec/fork.py#AE-FORK-2)). Here is a
# model that shares always.

# %%
from spec.bounds import BOUNDS, program
from spec.checker.search import search
from spec.decisions import Sketch, sketch
from spec.memory import Mm, Page
from spec.publish.traces import violation_text

# %%
careless = Sketch("sketch")
vars(careless).update(vars(sketch))


@careless
def may_share(mm: Mm, page: Page) -> bool:
    """always"""
    return True


# %% [markdown]
# ## The check
#
# Two CPUs: one forks, unmaps and writes, the other asks GUP. The reference search is
# enough; it needs no package but this one.

# %%
section = BOUNDS["small"].sections[0]
verdict = search(program(section, careless))
assert not verdict.holds
print(f"{verdict.states} states until {verdict.violations[0].property} breaks")

# %% [markdown]
# ## The trace
#
# The rule itself is violated first: the step that maps the page into the child.

# %%
print(violation_text(verdict.violations[0]))

# %% [markdown]
# ## Repair
#
# With the sketch's own answer everything holds.

# %%
assert search(program(section, sketch)).holds
