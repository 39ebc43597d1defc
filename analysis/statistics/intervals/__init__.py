"""Intervals of means, differences and ratios over seeds."""
