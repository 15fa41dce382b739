"""What data classes are printed as: shapes and no numbers, on a few lines."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.scans import measured

import jaxrecon as jr
from jaxrecon import struct
from jaxrecon.data import Slice


def test_a_problem():
    problem = jr.Problem.from_numpy(
        np.ones((3, 33, 24), np.complex64), maps=np.ones((3, 33, 24)), key=jax.random.key(0)
    )
    assert str(problem) == (
        "Problem(kspace=complex64[3, 33, 24], op=Sense(maps=complex64[3, 33, 24], "
        "encoding=CartesianFFT(mask=float32[1, 1], ndim=2)), key=key<fry>[])"
    )
    printed = []
    jax.make_jaxpr(lambda p: printed.append(str(p)) or p.kspace)(problem)
    assert printed == [str(problem)]


@pytest.mark.parametrize(
    "make",
    [
        lambda kspace: Slice(kspace=kspace, counters={"slice": 3}),
        lambda kspace: jr.reconstruct(np.tile(kspace, (9, 1, 1, 1)), method="rss"),
        lambda kspace: jr.data.example("brain").header,
        lambda kspace: jr.models.unet(jr.models.UNetConfig(features=2, pools=1)),
        lambda kspace: jr.metrics.evaluate(abs(kspace), abs(kspace) + 1, variant="fastmri"),
        lambda kspace: jr.operators.Stack((jr.operators.CartesianFFT(jnp.ones((33, 24))),) * 9),
    ],
)
def test_all_that_holds_arrays(make):
    """No array's numbers, no address; a screen has 24 lines of 80."""
    text = str(make(measured()[0]))
    assert "array(" not in text and " at 0x" not in text and "[[" not in text
    assert len(text) < 1000 and "\n" not in text


def test_collections_are_cut():
    @dataclasses.dataclass
    class Record:
        many: list
        named: dict
        text: str
        nothing: None = None

        __repr__ = struct.shapes_repr

    text = str(Record([np.zeros(2)] * 9, {"a": {"b": {"c": {"d": 1}}}}, "x" * 500))
    assert "many=[float64[2], float64[2], float64[2], float64[2], ... 9 items]" in text
    assert "named={'a': {'b': {1 items}}}" in text and "nothing" not in text and len(text) < 250
