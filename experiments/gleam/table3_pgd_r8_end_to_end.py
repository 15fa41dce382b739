"""GLEAM, Table III, end-to-end, N = 8: PGD 2D, fastMRI brain, R = 8, in equal memory.

    jaxrecon train experiments/gleam/table3_pgd_r8_end_to_end.py --data brains --validation brains_val --out runs/table3
    jaxrecon train experiments/gleam/table3_pgd_r8_end_to_end.py --small --data simulated --out runs/table3_small

The paper: SSIM 0.854 (0.036), nRMSE 0.182 (0.014), PSNR 31.09 (1.13) dB; 9.9 GB, 2.19 M parameters.

Deviations: maps and target come from `jaxrecon prepare --maps espirit --kernel 8 --calib-size 12` (as the paper; its script: 6 and 15);
the best checkpoint is that of the smallest mean NMSE (the code: nRMSE); masks of validation and test are seeded by file
(the code never applies its seed).
"""

from gleam_settings import pgd_brain

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated heads, for minutes on two cores."""
    return pgd_brain(deep=False, small=small)
