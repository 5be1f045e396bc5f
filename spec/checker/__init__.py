"""The checker: explores programs of threads over cells; knows no kernel concept."""
