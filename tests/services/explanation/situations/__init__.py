"""Situations to explain, by what they are about."""
