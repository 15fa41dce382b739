"""GLEAM, Table II, GLEAM, R = 4: MoDL 2D, 3D FSE knees (mridata), N = 8.

    jaxrecon train experiments/gleam/table2_modl_r4_gleam.py --data knees --split 0.72 0.08 0.2 --out runs/table2
    jaxrecon train experiments/gleam/table2_modl_r4_gleam.py --small --data simulated --out runs/table2_small

The paper: SSIM 0.941 (0.005), nRMSE 0.098 (0.007), PSNR 42.30 (0.50) dB; 1.57 GB, 2.08 s per iteration.

Deviations: maps and target come from `jaxrecon prepare --maps jsense` (kernel width 8, one fit for each slice after the readout FFT);
the best checkpoint is that of the smallest mean NMSE (the code: nRMSE); CG's inner products are of each example by itself.
"""

from gleam_settings import modl_mridata

from jaxrecon.experiment import Experiment
from jaxrecon.strategies import Gleam


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return modl_mridata(4.0, Gleam(), small=small)
