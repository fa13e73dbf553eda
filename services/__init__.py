"""Floor 3: those who react. Each service is a folder of the same rooms: `domain.py` (pure) and `app.py` (the shell)."""
