"""Analysis of studies: fronts, statistics, figures, tables and reports. Runs on a laptop, without ray and torch."""
