"""Codebooks: where representatives lie, which weight takes which, and what they cost in bits."""
