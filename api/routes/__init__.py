"""The routes: a request's shape in, one command or one query, a response's shape out."""
