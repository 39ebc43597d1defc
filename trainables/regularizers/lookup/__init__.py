"""Lookup tables that replace a search among the representatives for each weight."""
