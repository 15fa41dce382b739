"""GLEAM, Table I, end-to-end, R = 16: PGD 2D, 3D FSE knees (mridata), N = 8.

    jaxrecon train experiments/gleam/table1_pgd_r16_end_to_end.py --data knees --split 0.72 0.08 0.2 --out runs/table1
    jaxrecon train experiments/gleam/table1_pgd_r16_end_to_end.py --small --data simulated --out runs/table1_small

The paper: SSIM 0.892 (0.006), nRMSE 0.133 (0.008), PSNR 39.66 (0.33) dB; 11.1 GB, 1.39 s per iteration.

Deviations: maps and target come from `jaxrecon prepare --maps jsense` (kernel width 8, one fit for each slice after the readout FFT);
the best checkpoint is that of the smallest mean NMSE (the code: nRMSE).
"""

from gleam_settings import pgd_mridata

from jaxrecon.experiment import Experiment
from jaxrecon.strategies import EndToEnd


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return pgd_mridata(16.0, EndToEnd(), small=small)
