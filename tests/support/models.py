"""Every network at the smallest size that has all its parts: those of the catalogue, and what strategies treat apart."""

import functools
from dataclasses import replace

from jaxrecon import models
from jaxrecon.experiment.catalog import CATALOG

TINY = {name: entry.tiny for name, entry in CATALOG.items()}
MODELS = TINY | {
    "modl, frozen": replace(TINY["modl"], norm="frozen"),
    "pgd, shared": replace(TINY["pgd"], shared=True),
    "deep-jsense, separate": replace(TINY["deep-jsense"], shared=False),
}
"""Name -> configuration; a new entry of the catalogue is one of them."""

# one batched network of a network, hence one compilation; shapes of parameters once for a configuration
batched = functools.cache(models.batched)
abstract = functools.cache(models.abstract_params)
