"""The regularize phase on a CPU for RM and RE, in loops that Numba compiles.

`phase` takes the place of `trainables.phases.regularize`, `layers` says what is done to each layer, `loops` holds the
loops, and `compiler` compiles them. Where Numba is missing, and for other families, operators of torch do the work.
"""
