"""Durations and failures by seed, and no data."""
