"""The measured head of the package, undersampled, against what BART makes of the same samples."""

import functools

import numpy as np
import pytest

import jaxrecon as jr

BART = {
    2: {"cg-sense": 0.0223, "l1-wavelet": 0.0217},
    3: {"cg-sense": 0.0340, "l1-wavelet": 0.0312},
    4: {"cg-sense": 0.0579, "l1-wavelet": 0.0422},
    6: {"cg-sense": 0.1116, "l1-wavelet": 0.0538},
}
"""R -> errors of BART 0.8.00: `bart ecalib -m1 kspace maps`, then `bart pics -l2 -r0.001 -i30 kspace maps image`, and
`bart pics -l1 -r0.003 -i100 kspace maps image`."""
OPTIONS = {"cg-sense": {"lam": 0.001, "n_iter": 30}, "l1-wavelet": {"lam": 0.003, "n_iter": 100}}


@functools.cache
def full():
    """k-space (coil, y, x), the root of the sum of squares of all of its samples, and maps of the center, which all masks keep."""
    kspace = jr.data.example("brain")[0].kspace
    found = jr.reconstruct(kspace, method="zero-filled", calib_size=24)
    return kspace, jr.reconstruct(kspace, method="rss").images[0], found.maps[0]


def error(image, reference):
    """Of magnitudes where the reference is above a tenth of its maximum, after one real scale."""
    inside = reference > 0.1 * reference.max()
    own, reference = np.abs(image)[inside], reference[inside]
    return np.linalg.norm(own * (own @ reference) / (own @ own) - reference) / np.linalg.norm(reference)


@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("acceleration", BART)
def test_the_error_is_no_larger_than_that_of_bart(method, acceleration):
    """Every R-th line and the 24 central ones; ESPIRiT's maps as they are for any scan."""
    kspace, reference, maps = full()
    n = kspace.shape[-1]
    mask = np.arange(n) % acceleration == 0
    mask[n // 2 - 12 : n // 2 + 12] = True
    image = jr.reconstruct(kspace, method=method, mask=mask, maps=maps, **OPTIONS[method]).images[0]
    assert error(image, reference) < 1.05 * BART[acceleration][method]
