"""Kernels that are booted to be witnesses: fetched, started in QEMU, driven from here.

`init` runs inside a guest and needs the standard library only.
"""
