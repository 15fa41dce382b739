"""GLEAM, Table V, MEL: MoDL 2D + time, cine, R = 10, N = 4.

    jaxrecon train experiments/gleam/table5_modl_cine_mel.py --data simulated --out runs/table5
    jaxrecon train experiments/gleam/table5_modl_cine_mel.py --small --data simulated --out runs/table5_small

The paper: it did not converge.

Deviations: the paper's cine data are not public: give your own, or beating hearts are simulated (--data simulated);
the FFT is centred; no partial echo, no circular padding in time (whether the paper had them is unknown).
The inverse of CG is eq. 11 (the code adds x by mistake); N_cp = N - 1: only the last step is really inverted.
"""

from gleam_settings import modl_cine

from jaxrecon.experiment import Experiment
from jaxrecon.strategies import Invertible


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated hearts, for minutes on two cores."""
    return modl_cine(Invertible(), small=small)
