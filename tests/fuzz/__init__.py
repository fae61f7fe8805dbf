"""Random databases through everything that relsql does with one: `python -m tests.fuzz` (`make fuzz`).

A case is a seed: `python -m tests.fuzz --seed 147` draws the same database again, and shows what failed in full.
"""
