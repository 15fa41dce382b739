"""Reconstruction of whole scans: from a file, a scan or an array to pictures, by a classical method or a trained network."""

from .find_lam import FoundLam, find_lam
from .network import Network, load_network
from .scan import Reconstructed, reconstruct
from .scores import evaluate
from .settings import Settings
from .slicewise import SliceResult, parts_of, reconstruct_problem, reconstruct_slice, slices

__all__ = [
    "FoundLam",
    "Network",
    "Reconstructed",
    "Settings",
    "SliceResult",
    "evaluate",
    "find_lam",
    "load_network",
    "parts_of",
    "reconstruct",
    "reconstruct_problem",
    "reconstruct_slice",
    "slices",
]
