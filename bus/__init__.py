"""Floor 2: the log. Subjects, envelope, stream, append, follow, read, and the embedded server. `nats-py` stays here."""
