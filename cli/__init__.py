"""Floor 5: the terminal, and the one place where parts are put together."""
