"""The tables of the book: each experiment is a module with a ``run`` and a command; its seeds are arguments."""
