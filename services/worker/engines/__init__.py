"""Engines: each backs up one VM into one kind of repository, behind one small protocol.

A folder here holds everything of one engine, and one line in `registration` lists it.
"""
