"""A finished exploration for other checkers; knows no kernel concept."""
