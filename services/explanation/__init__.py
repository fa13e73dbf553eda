"""Why a flow ran at an instant, or did not: told from the log's own messages. Pure."""
