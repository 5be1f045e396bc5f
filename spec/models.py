# %%
from __future__ import annotations

from spec import fault, fork, gup
from spec.bit import FaultFlags, Foll
from spec.memory import Mm, Page, Pte
from spec.rules import may

class Sketch:
    name = "sketch"
    may_reuse = staticmethod(fault.may_reuse)
    starts_exclusive = staticmethod(fault.starts_exclusive)
    may_return = staticmethod(gup.may_return)
    may_set_bit = staticmethod(gup.may_set_bit)
    may_share = staticmethod(fork.may_share)
    def child_starts_exclusive(self): return False
    def may_upgrade(self, page): return page.anon_exclusive
    def unshares_zeropage(self, foll): return False
    def syncs_with_fork(self, foll): return True
    def protects(self, foll): return True
    def protects_across_fork(self, foll): return True
