"""The regularize phase on a CPU for RM and RE, in loops that Numba compiles.

`phase` takes the place of `trainables.phases.regularize`, `layers` says what is done to each layer, and `loops` holds
the loops. Where Numba is missing, and for other families, operators of torch go from layer to layer.
"""
