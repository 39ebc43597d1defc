"""The search: space, samplers, searcher, rungs and early stopping."""
