"""The masks of the published experiments, bit for bit: drawn on the host by numpy's RandomState in the published order.

The functions are named as their counterparts in `jaxrecon.sampling`, whose docstrings hold the equations, arguments and
errors, but take a seed in place of a key: an int, a tuple of ints, a file name ("file1000001.h5" is the tuple of its
character codes, which the published evaluations use, so that a volume has one mask), or a RandomState to be drawn from.
They return numpy arrays, float32 of zeros and ones, (x,), (frame, x) or (y, x).

The fastMRI functions take one acceleration and center_fraction or equally long tuples of them; a pair is drawn first,
also when there is one. `draw_pair` says which. Those of CMRxRecon take numbers, or sequences to choose from.

Source: the reference code that each function names, run with the same seed.

Example:
  >>> mask = random_lines("file1000001.h5", 368, acceleration=(4, 8), center_fraction=(0.08, 0.04))
  >>> draw_pair("file1000001.h5", (0.08, 0.04), (4, 8))
  (0.04, 8)
"""

from .frames import (
    kt_gaussian_lines,
    kt_random_lines,
    kt_shear_lines,
    kt_uniform_lines,
    kt_variable_density,
    set_comb,
)
from .lines import (
    benchmark_lines,
    cmrxrecon_lines,
    equispaced_fraction_lines,
    equispaced_lines,
    fixed_count_lines,
    magic_fraction_lines,
    magic_lines,
    random_lines,
)
from .poisson import poisson_disc
from .seeds import draw_pair, random_state

__all__ = [
    "benchmark_lines",
    "cmrxrecon_lines",
    "draw_pair",
    "equispaced_fraction_lines",
    "equispaced_lines",
    "fixed_count_lines",
    "kt_gaussian_lines",
    "kt_random_lines",
    "kt_shear_lines",
    "kt_uniform_lines",
    "kt_variable_density",
    "magic_fraction_lines",
    "magic_lines",
    "poisson_disc",
    "random_lines",
    "random_state",
    "set_comb",
]
