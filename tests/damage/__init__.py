"""A corpus of damaged files: every column of every `relsql.*` table, and every field of the card, changed in some ways.

    python -m tests.damage            all cases: counts, and the cases that failed
    pytest tests/relsql/registry/test_damaged_files.py    a seeded part of them

Whatever is changed, the scores are those of the whole file, or there is one line that says what is wrong.
"""
