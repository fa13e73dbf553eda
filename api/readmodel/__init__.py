"""Queries of the read model: SQL in, responses out. Names are joined, totals count all matches."""
