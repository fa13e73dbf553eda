"""Floor 4: those who are talked to over HTTP. It appends commands, waits for their outcome, and reads from SQL."""
