"""The routes of CONTRACT.md: shapes in, one command or one question, shapes out."""
