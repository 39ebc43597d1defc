"""Codebooks: placement of representatives, assignment of weights to them, and their size in bits."""

from trainables.codebooks.artifact import Artifact
from trainables.codebooks.artifact_file import read_artifact, write_artifact
from trainables.codebooks.assignment import Codebook, assign
from trainables.codebooks.bits import LayerBits, NetworkBits, network_bits
from trainables.codebooks.kmeans import kmeans
from trainables.codebooks.placement import grid, midpoints, place_representatives, quantiles

__all__ = [
    "Artifact",
    "Codebook",
    "LayerBits",
    "NetworkBits",
    "assign",
    "grid",
    "kmeans",
    "midpoints",
    "network_bits",
    "place_representatives",
    "quantiles",
    "read_artifact",
    "write_artifact",
]
