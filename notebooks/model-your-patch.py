# %% [markdown]
# # How to model your patch
#
# You have a patch that touches COW, GUP or fork and want to know whether it keeps the
# rules. This page goes from the diff to a verdict in five steps. The example is
# 57efa1fe5957 (5.11), "mm/gup: prevent gup_fast from racing with COW during fork".
# Change its cells in your browser, or open them in JupyterLite.
#
# ## 1. Find the operation
#
# Operations bear the kernel's names. Look up the functions that the diff names, in the
# site's search or in [the table of steps](../reference/steps.md).
#
# - `copy_page_range()` in `mm/memory.c`: the count is odd while PTEs are
#   write-protected. In the model [`fork()`](../spec/fork.py), by
#   [AE-FORK-6](../spec/fork.py#AE-FORK-6).
# - `lockless_pages_from_mm()` in `mm/gup.c`, *before* the walk: for `FOLL_PIN` read
#   `write_protect_seq` and give up if it is odd. In the model
#   [`gup_fast()`](../spec/gup_fast.py).
# - The same function *after* the walk: if the count has changed, unpin and give up. By
#   [AE-FAST-4](../spec/gup_fast.py#AE-FAST-4).
#
# ## 2. Choose the model that the patch is for
#
# The patch changes a kernel that decides by `page_count()`, as Linux did from 5.9 to
# 5.18. For a patch on top of today's tree take `upstream`.

# %%
from itertools import product

import spec.gup_fast
from spec.bounds import program
from spec.checker.search import search
from spec.clients import section
from spec.gup_fast import gup_fast_pte_range, put
from spec.models import MODELS
from spec.publish.traces import violation_text

model = MODELS["page_count"]

# %% [markdown]
# ## 3. Write the change as Python
#
# Copy the operation and change what the diff changes. A `yield` is a place where
# another CPU may run: put one between two accesses that the kernel does not make
# atomic. Here each hunk of `mm/gup.c` is a switch, so that each can be left out.


# %%
def patched(before_the_walk=True, after_the_walk=True):
    """`gup_fast()` with one, both or none of the hunks."""

    def gup_fast(mm, va, ref, foll):
        mm.asked_gup = True
        seq = mm.write_protect_seq
        if before_the_walk and foll.pin and seq % 2 == 1:
            return False
        if not (yield from gup_fast_pte_range(mm, va, ref, foll)):
            return False
        if after_the_walk and foll.pin and mm.write_protect_seq != seq:
            return put(mm, ref)
        ref.state = "live"
        return True

    return gup_fast


# %% [markdown]
# ## 4. Choose what runs beside it
#
# The patch is about GUP-fast and fork, so one CPU forks and the other pins. `write`
# beside `fork` lets the parent lose its page. Keep a section small: as few operations
# as the commit message speaks of. The [litmus language](../reference/litmus.md) has the
# same words.

# %%
SECTION = section(
    ("A", "fork; write 1"),
    ("A", "gup rw pin fast-only; put"),
    starts=("write",),
    processes=2,
    pages=4,
)


def check(gup_fast):
    """The verdict on all interleavings, with `gup_fast` in the place of the model's."""
    spec.gup_fast.gup_fast = gup_fast
    return search(program(SECTION, model))


# %% [markdown]
# ## 5. Read the verdict
#
# With the patch all rules hold, in all interleavings of this section.

# %%
assert check(patched()).holds

# %% [markdown]
# That is worth something only if the check can fail. Take the patch out:

# %%
unpatched = check(patched(before_the_walk=False, after_the_walk=False))
print(violation_text(unpatched.violations[0]))

# %% [markdown]
# This is the race of the commit message: the pin is taken after fork has looked for
# pins and before it has write-protected the PTE. Last, ask whether each hunk is needed.

# %%
for before, after in product((True, False), repeat=2):
    verdict = check(patched(before, after))
    broken = ", ".join(found.property for found in verdict.violations) or "nothing"
    print(f"before the walk {before!s:5}  after the walk {after!s:5}  breaks {broken}")

# %% [markdown]
# Neither hunk is enough alone. The test before the walk does not see a fork that begins
# later; the one after the walk does not see a fork that was there already and still is.
#
# ## What the verdict is worth
#
# It holds for this section: two CPUs, two processes, one address. Try larger ones
# before you rely on it: [Bounds](../reference/bounds.md) lists those that the
# operations of this site have passed, and `BOUNDS["small"].sections` in `spec.bounds`
# gives you them. On your own machine `explore()` in `spec.checker.explore` takes the
# same `program()` and is much faster than `search()`.
#
# A rule that breaks has a permanent link to put into the review: see [how to
# cite](../how-to-cite.md).
