"""GLEAM, Table I, GLEAM, R = 12: PGD 2D, 3D FSE knees (mridata), N = 8.

    jaxrecon train experiments/gleam/table1_pgd_r12_gleam.py --data knees --split 0.72 0.08 0.2 --out runs/table1
    jaxrecon train experiments/gleam/table1_pgd_r12_gleam.py --small --data simulated --out runs/table1_small

The paper: SSIM 0.913 (0.002), nRMSE 0.127 (0.007), PSNR 40.09 (0.34) dB; 2.0 GB, 1.38 s per iteration.

Deviations: maps and target come from `jaxrecon prepare --maps jsense` (kernel width 8, one fit for each slice after the readout FFT);
the best checkpoint is that of the smallest mean NMSE (the code: nRMSE).
"""

from gleam_settings import pgd_mridata

from jaxrecon.experiment import Experiment
from jaxrecon.strategies import Gleam


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return pgd_mridata(12.0, Gleam(), small=small)
