"""Statistics of results: fronts, intervals, comparisons of families."""
