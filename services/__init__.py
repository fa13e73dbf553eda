"""Floor 3: the services, which react to the log.

Each service is a folder of the same rooms: `domain.py` (pure) and `app.py` (the shell).
"""
