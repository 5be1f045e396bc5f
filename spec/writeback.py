# %% [markdown]
# # Swap-out: writing a page and freeing it
#
# The slot gets the contents only when nobody but reclaim and the swap cache has the
# page. While it is written the folio is unlocked, and a fault may bring it back. The
# page is freed only if nobody did, nobody else has it, and nothing was written since.
#
# Reclaim takes these steps once it has replaced the mappings by swap entries, which is
# the next chapter.

# %%
from __future__ import annotations

from spec.counts import (
    add_to_swap_cache,
    alloc_page,
    delete_from_swap_cache,
    folio_trylock,
    folio_unlock,
    get_page,
    put_page,
    run,
    unexpected_references,
)
from spec.decisions import sketch
from spec.lazyfree import held_by_others
from spec.memory import Machine, Names, Page, Steps
from spec.rules import ALL_MODELS, Step, obey, rule

# %% [markdown]
# ## Operations


# %%
def pageout(page: Page) -> bool:
    """Begin to write the page to its slot, unless somebody has a reference."""
    if unexpected_references(page) > 0 and obey(page, "AE-SWAP-5"):
        return False
    if not page.dirty or not obey(page, "AE-SWAP-7"):
        return False
    page.dirty = False
    page.writeback = True
    return True


def end_swap_write(page: Page) -> Steps:
    """The slot has the contents; free the page if it is still unmapped."""
    page.machine.slots[str(page.swap)].value = page.value
    page.writeback = False
    yield
    if folio_trylock(page):
        remove_from_swap_cache(page)
        folio_unlock(page)


def remove_from_swap_cache(page: Page) -> None:
    """Let go of an unmapped page if its count is as expected and it is clean."""
    if page.mapcount > 0 or page.swap is None or page.writeback:
        return
    if unexpected_references(page) > 0 and obey(page, "AE-SWAP-6"):
        return
    if page.dirty and obey(page, "AE-SWAP-7"):
        return
    delete_from_swap_cache(page)


# %% [markdown]
# ## Rules
#
# ### AE-SWAP-5 {#AE-SWAP-5}
#
# The unmapped page may still have a FOLL_GET reference upstream. While it is written
# the marker may be ignored ([AE-SWAP-12](swap.py#AE-SWAP-12)).


# %%
@rule(
    "AE-SWAP-5",
    source="mm/vmscan.c:pageout, v6.1",
    kernel=("mm/vmscan.c:pageout",),
    models=("upstream", "always"),
)
def referenced_page_is_not_written(step: Step) -> bool:
    """Reclaim MUST NOT begin to write a page to its swap slot while somebody who may
    rely on the page holds a reference."""
    return not any(
        held_by_others(step.before, page)
        for name, page in step.before.pages.items()
        if f"{name}.writeback" in step.written
        and not page.writeback
        and step.after.pages[name].writeback
    )


# %% [markdown]
# ### AE-SWAP-6 {#AE-SWAP-6}
#
# `__remove_mapping()` freezes the count: it must be exactly what reclaim and the swap
# cache have.


# %%
def leaves_the_cache(step: Step) -> list[Page]:
    """Pages (before) that leave the swap cache while a swap entry needs the slot."""
    return [
        page
        for name, page in step.before.pages.items()
        if f"{name}.swap" in step.written
        and page.swap is not None
        and step.after.pages[name].swap is None
        and step.after.slots[page.swap].count > 0
        and step.after.slots[page.swap].folio is None
    ]


@rule(
    "AE-SWAP-6",
    source="mm/vmscan.c:__remove_mapping, v6.1",
    kernel=("mm/vmscan.c:__remove_mapping",),
    models=("upstream", "always"),
)
def referenced_page_stays_in_the_cache(step: Step) -> bool:
    """Reclaim MUST NOT take a page out of the swap cache while somebody who may rely
    on the page holds a reference."""
    return not any(held_by_others(step.before, page) for page in leaves_the_cache(step))


# %% [markdown]
# ### AE-SWAP-7 {#AE-SWAP-7}


# %%
@rule(
    "AE-SWAP-7",
    source="mm/vmscan.c:__remove_mapping, v6.1",
    kernel=("mm/vmscan.c:__remove_mapping",),
    models=ALL_MODELS,
)
def dirty_page_stays_in_the_cache(step: Step) -> bool:
    """Reclaim MUST NOT take a page out of the swap cache before its slot has the
    page's contents."""
    return not any(page.dirty for page in leaves_the_cache(step))


# %% [markdown]
# ## Example
#
# An unmapped page in the swap cache; reclaim has the reference that it was allocated
# with. With one more it is not written.

# %%
machine = Machine(Names(slots=("s1",)), sketch)
page, slot = alloc_page(machine), machine.slots["s1"]
page.value, page.dirty, slot.count = 1, True, 1
add_to_swap_cache(page, slot)
get_page(page)
assert not pageout(page)

# %% [markdown]
# Without, it is written and leaves the swap cache; reclaim drops the last reference.

# %%
put_page(page)
assert pageout(page)
run(end_swap_write(page))
assert (slot.value, slot.folio, page.refcount) == (1, None, 1)
put_page(page)
assert page.refcount == 0
