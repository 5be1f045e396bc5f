# %% [markdown]
# # From a patch to a cited reply
#
# A patch comes to the list. It touches functions that rules speak of. This page takes a
# real change from there to a verdict and to a reply that cites it.
#
# ## The change
#
# Up to 7.2, `do_swap_page()` set the bit of a page for two reasons: the swap entry was
# marked exclusive, or the page had no other reference. In 7.3 only the marker is left.
# The diff below has the shape of that change, abridged and in words of our own.

# %%
PATCH = b"""\
From: a developer <dev@example.org>
Subject: [PATCH] mm: let do_swap_page() take exclusivity from the entry alone

diff --git a/mm/memory.c b/mm/memory.c
--- a/mm/memory.c
+++ b/mm/memory.c
@@ -4000,7 +4000,7 @@ vm_fault_t do_swap_page(struct vm_fault *vmf)
 \texclusive = pte_swp_exclusive(vmf->orig_pte);
 \tswap_free(entry);
 \t/* (abridged) */
-\tif (exclusive || folio_ref_count(folio) == 1)
+\tif (exclusive)
 \t\trmap_flags |= RMAP_EXCLUSIVE;
 \tset_pte_at(vma->vm_mm, address, vmf->pte, pte);
 \tpte_unmap_unlock(vmf->pte, vmf->ptl);
"""

# %% [markdown]
# ## The rules that it touches
#
# In a terminal this is `anon-exclusive review --top 2 PATCH`. The most relevant rule
# comes first: the changed lines name what it is about.

# %%
from spec.desk.mail import load_file
from spec.desk.review import review, text

# %%
reviewed = review([load_file("the patch", PATCH)])
reviewed.concerns = reviewed.concerns[:2]
print("\n".join(text(reviewed)))

# %%
first = reviewed.concerns[0].rule
assert first.id == "AE-SWAP-10"

# %% [markdown]
# ## The operation before and after
#
# [AE-SWAP-10](../spec/swap.py#AE-SWAP-10) stands beside a decision that models answer:
# does a page that comes back from swap get its bit? `upstream` answers as 7.3 does.
# Before, the count was a second reason. The fault holds one reference and the swap
# cache another, and no second entry may name the slot.

# %%
from spec.memory import Page
from spec.models import Upstream


# %%
class UpTo72(Upstream):
    """do_swap_page() before the change."""

    def swapin_exclusive(self, page: Page, remembered: bool) -> bool:
        """if the entry remembers, or nobody else has the page or an entry of it"""
        slot = page.machine.slots[str(page.swap)]
        return remembered or (slot.count == 1 and page.refcount == 2)


# %% [markdown]
# ## The verdict
#
# Every interleaving of one section of the bounds `standard` is explored, with the rule
# in question and without it.

# %%
from dataclasses import replace

from spec.bounds import BOUNDS, program
from spec.checker.program import Verdict
from spec.checker.search import search
from spec.decisions import Model

section = BOUNDS["standard"].sections[24]
print("\n".join(section.describe()))


# %%
def verdict(model: Model, rules: bool = True) -> Verdict:
    """Explore, and judge guarantees with or without the rules that lead to them."""
    whole = program(section, model)
    judged = [p for p in whole.steps if rules or p.id.startswith("AE-INV")]
    return search(replace(whole, steps=judged))


def said(found: Verdict) -> str:
    """A verdict in a line."""
    if found.holds:
        return f"{found.states:,} states: all holds"
    broken = found.violations[0]
    return f"{broken.property} is broken after {broken.depth} steps"


# %%
before, after = UpTo72(), Upstream()
ruled, guaranteed = verdict(before), verdict(before, rules=False)
repaired = verdict(after)
print("before, rules:     ", said(ruled))
print("before, guarantees:", said(guaranteed))
print("after, both:       ", said(repaired))

# %% [markdown]
# So the old code broke the sentence of the rule, and no guarantee: the count was a
# sound reason, too. After the change the rule holds as it is written. What the fault
# does not find out, the write fault that follows does
# ([AE-COW-3](../spec/cow.py#AE-COW-3)).

# %%
assert ruled.violations[0].property == "AE-SWAP-10"
assert guaranteed.holds
assert repaired.holds

# %% [markdown]
# ## A change that would not be sound
#
# Is any count as good? `mapcount` does not see who holds a swap entry only.


# %%
class ByMapcount(Upstream):
    """do_swap_page() that asks the wrong count."""

    def swapin_exclusive(self, page: Page, remembered: bool) -> bool:
        """if the entry remembers, or nobody maps the page"""
        return remembered or page.mapcount == 0


# %%
from spec.publish.traces import violation_text

# %%
wrong = verdict(ByMapcount(), rules=False)
print(violation_text(wrong.violations[0]))

# %% [markdown]
# ## The reply
#
# `anon-exclusive cite --form reply` prints the rule as a sentence with its revision and
# checksum.

# %%
from spec.desk.forms import FORMS
from spec.desk.lint import lint
from spec.rules import load

# %%
reply = f"""\
On a patch that lets do_swap_page() take exclusivity from the entry alone:

{FORMS["reply"]([first])}

With the count as a second reason, the model breaks this rule and no guarantee
(section 25 of the bounds "standard"). Without it all holds there.
"""
print(reply)

# %% [markdown]
# Before it is sent, `anon-exclusive lint` reads it once more: ids, checksums,
# quotations, links.

# %%
assert lint(load_file("the reply", reply.encode()), load()) == []
