"""A corpus of damaged files: every column of every `relsql.*` table, and every field of the card, changed in some ways.

    python -m tests.damage            all cases: counts, and the cases that failed
    pytest tests/relsql/registry/test_damaged_files.py    a seeded part of them

After any change, the scores are those of the undamaged file, or there is an error on one line.
"""
