"""Deterministic simulation: the real services on a simulated log, clock, queue and network, in one thread.

`docs/simulation.md` says what is simulated, what is promised, and how to read a failing seed.
"""
