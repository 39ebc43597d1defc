"""Packs: several trials of one architecture that one process trains in lockstep.

Every trial of a pack is a `CompressionRun` of its own, with its network, phase, optimizers and generator. Where the GPU
kernels train all of its layers (`Phase.on_device`), each takes its own steps, side by side with the others. Elsewhere
the forward and the backward pass are shared: once a step, over the stacked parameters of all networks (`stacked`); all
else is done trial by trial. A pack has a fixed
number of places. Places without a trial are computed in shared passes as well, so that a trial's result depends neither
on its neighbours nor on whether it has any.
"""
