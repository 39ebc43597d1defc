"""The search: propose configurations, run them on Ray, stop the hopeless ones, and record what happened.

Importing this package imports nothing heavy: `qar --help` is to answer at once.
"""
