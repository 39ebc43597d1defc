"""Training steps on a GPU: the penalty, or the codebook, of all layers by a few launches, and nothing to wait for.

`phases` holds the two phases of a trial for a device; on a CPU those of `trainables.phases` are used, which go from
layer to layer. `kernels` holds the Triton kernels and `operators` launches them; `layout` says where each layer's
numbers lie; `schedule` holds λ, τ and learning rates in device memory; `graph` captures a step as a CUDA graph.
"""
