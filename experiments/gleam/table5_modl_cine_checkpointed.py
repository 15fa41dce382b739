"""GLEAM, Table V, checkpointing: MoDL 2D + time, cine, R = 10, N = 4.

    jaxrecon train experiments/gleam/table5_modl_cine_checkpointed.py --data simulated --out runs/table5
    jaxrecon train experiments/gleam/table5_modl_cine_checkpointed.py --small --data simulated --out runs/table5_small

The paper: SSIM 0.993 (0.005), nRMSE 0.059 (0.016), PSNR 43.35 (2.19) dB; 3.3 GB, 5.75 s per iteration.

Deviations: the paper's cine data are not public: give your own, or beating hearts are simulated (--data simulated);
the FFT is centred; no partial echo, no circular padding in time (whether the paper had them is unknown).
"""

from gleam_settings import modl_cine

from jaxrecon.experiment import Experiment
from jaxrecon.strategies import Checkpointed


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated hearts, for minutes on two cores."""
    return modl_cine(Checkpointed(), small=small)
