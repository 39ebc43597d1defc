"""What one trial does: regularize a network, quantize it, finetune it, and say what it costs in bits.

Only `trainables.trainable` knows Ray; the rest needs torch, torchvision and numpy alone.
Importing this package imports none of them.
"""
