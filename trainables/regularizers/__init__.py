"""Regularizers: how weights move towards representatives while a network trains."""
