"""GLEAM, Table III, GLEAM, N = 24, M = 3: PGD 2D, fastMRI brain, R = 8, in equal memory.

    jaxrecon train experiments/gleam/table3_pgd_r8_gleam_n24_m3.py --data brains --validation brains_val --out runs/table3
    jaxrecon train experiments/gleam/table3_pgd_r8_gleam_n24_m3.py --small --data simulated --out runs/table3_small

The paper: SSIM 0.870 (0.033), nRMSE 0.162 (0.015), PSNR 32.14 (1.22) dB; 10.2 GB, 6.57 M parameters.

Deviations: maps and target come from `jaxrecon prepare --maps espirit --kernel 8 --calib-size 12` (as the paper; its script: 6 and 15);
the best checkpoint is that of the smallest mean NMSE (the code: nRMSE); masks of validation and test are seeded by file
(the code never applies its seed).
"""

from gleam_settings import pgd_brain

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return pgd_brain(deep=True, small=small)
