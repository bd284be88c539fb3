"""The benchmarks: every figure a ratio, measured in one run against what a user would otherwise use.

    python -m bench                  everything that runs in minutes
    python -m bench decode insert    these alone

A benchmark is a module with ``NAME`` and ``run(plan) -> list[Case]``; ``__main__`` knows them all.
"""
