"""What the API responds: the shapes of the HTTP contract, a module for each noun."""
