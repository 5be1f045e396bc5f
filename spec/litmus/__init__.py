"""Litmus tests: small programs of processes and references, and what must hold."""
