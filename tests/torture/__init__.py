"""Faults in the middle of every command that writes: kills, torn writes, full disks, I/O errors, no memory.

`python -m tests.torture` sweeps over commands, faults and moments, and prints what did not hold (`make torture`).
What has to hold after each fault is in `checks.py`, and `docs/reliability.md` says it in words.
"""
