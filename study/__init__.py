"""What a search does: asks for configurations, runs them on Ray, stops the hopeless, and writes down what happened.

Importing this package imports nothing heavy: `qar --help` is to answer at once.
"""
