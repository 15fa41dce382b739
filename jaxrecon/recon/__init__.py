"""Reconstruction of whole scans: from a file, a scan or an array to pictures, by a classical method or a trained network."""

from .network import Network, load_network
from .scan import Reconstructed, reconstruct
from .scores import evaluate
from .settings import Settings
from .slicewise import SliceResult, parts_of, reconstruct_problem, reconstruct_slice, slices

__all__ = [
    "Network",
    "Reconstructed",
    "Settings",
    "SliceResult",
    "evaluate",
    "load_network",
    "parts_of",
    "reconstruct",
    "reconstruct_problem",
    "reconstruct_slice",
    "slices",
]
