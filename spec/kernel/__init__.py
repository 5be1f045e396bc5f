"""Drive the running Linux kernel through litmus programs, observe it, compare it.

`driver` and what it imports run in a process of their own and need the standard
library only; everything else talks to that process.
"""
