"""Published weights, read without executing their files, to parameters of this library and back."""

from .d5c5 import D5C5
from .deep_jsense import DEEP_JSENSE, MODL_DEEP_JSENSE
from .fastmri import E2E_VARNET, FASTMRI_UNET
from .files import read, read_settings
from .keras_h5 import read_keras
from .mapping import Published, Rule, from_published, to_published
from .modl import MODL
from .npz import read_comment, read_npz, write_npz
from .promptmr import PROMPTMR, PROMPTMR_PLUS
from .ramzi import PDNET, XPDNET
from .tensorflow_bundle import read_bundle
from .torch_state import read_torch

__all__ = [
    "D5C5",
    "DEEP_JSENSE",
    "E2E_VARNET",
    "FASTMRI_UNET",
    "MODL",
    "MODL_DEEP_JSENSE",
    "PDNET",
    "PROMPTMR",
    "PROMPTMR_PLUS",
    "XPDNET",
    "Published",
    "Rule",
    "from_published",
    "read",
    "read_bundle",
    "read_comment",
    "read_keras",
    "read_npz",
    "read_settings",
    "read_torch",
    "to_published",
    "write_npz",
]
