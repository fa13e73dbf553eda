"""Questions to the read model: SQL in, answers out. Names are joined, totals count all matches."""
