"""Families of a user: declared in a module of theirs, as a class or as a differentiable function."""
