"""Training steps over all layers at once, by a few launches on a GPU, where the host waits for nothing.

`phases` holds the two phases of a trial for a device; `layers` and `trained` what they do to weights and to
representatives, and `transforms` the families that put other values in the place of the weights. The modules named
`…kernels` hold the Triton kernels, `slopes` their formulas, and `launching` launches them. `layout` says where each
layer's numbers lie, and `places` finds them in a kernel; `controls` holds λ, τ and learning rates in device memory, for
`device_optimizers`; `graph` captures a step as a CUDA graph.

On a CPU, and on a GPU for which Triton can't compile, the phases of `trainables.phases` go from layer to layer; on a
CPU, `trainables.compiled` takes the place of the regularize phase for RM and RE.
"""
