"""Exports of a finished exploration for other model checkers; knows no kernel concept."""
