"""Floor 1: the shapes. Definitions, commands, events and SQL tables; no I/O, and nothing of ours imported."""
