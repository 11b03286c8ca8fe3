"""One cell of a sweep, in a process of its own: train, evaluate, record."""
