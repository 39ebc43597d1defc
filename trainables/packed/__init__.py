"""Packs: several trials of one architecture that one process trains in lockstep.

Every trial of a pack is a `CompressionRun` of its own, with its network, phase, optimizers and generator. The forward
and the backward pass are shared: they run once a step, over the stacked parameters of all networks (`stacked`). All
else is done trial by trial. A pack has a fixed number of places. Places without a trial are computed as well, so that
a trial's result depends neither on its neighbours nor on whether it has any.
"""
