"""The examples in docstrings do what they say; they know jax, jnp, np and jr beside the names of their module."""

import doctest
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon

ROOT = Path(jaxrecon.__file__).parent
FILES = sorted(file for file in ROOT.rglob("*.py") if ">>> " in file.read_text(encoding="utf-8"))
KNOWN = {"jax": jax, "jnp": jnp, "np": np, "jr": jaxrecon}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).with_suffix("").as_posix())
def test_examples(file):
    name = ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    result = doctest.testmod(importlib.import_module(name), extraglobs=KNOWN)
    assert result.attempted and not result.failed
