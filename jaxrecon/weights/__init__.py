"""Published weights, read without executing their files, to parameters of this library and back."""

from .fastmri import E2E_VARNET, FASTMRI_UNET
from .files import read
from .mapping import Published, Rule, from_published, to_published
from .modl import MODL
from .npz import read_npz, write_npz
from .tensorflow_bundle import read_bundle
from .torch_state import read_torch

__all__ = [
    "E2E_VARNET",
    "FASTMRI_UNET",
    "MODL",
    "Published",
    "Rule",
    "from_published",
    "read",
    "read_bundle",
    "read_npz",
    "read_torch",
    "to_published",
    "write_npz",
]
