"""GLEAM, Table V, GLEAM: MoDL 2D + time, cine, R = 10, N = 4.

    jaxrecon train experiments/gleam/table5_modl_cine_gleam.py --data simulated --out runs/table5
    jaxrecon train experiments/gleam/table5_modl_cine_gleam.py --small --data simulated --out runs/table5_small

The paper: SSIM 0.993 (0.006), nRMSE 0.061 (0.017), PSNR 42.97 (2.25) dB; 3.1 GB, 4.29 s per iteration.

Deviations: the paper's cine data are not public: give your own, or beating hearts are simulated (--data simulated);
the FFT is centred; no partial echo, no circular padding in time (whether the paper had them is unknown).
"""

from gleam_settings import modl_cine

from jaxrecon.experiment import Experiment
from jaxrecon.strategies import Gleam


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated hearts, for minutes on two cores."""
    return modl_cine(Gleam(), small=small)
