"""Disk images as compressed files in a folder."""
