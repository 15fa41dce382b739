"""PromptMR+, benchmark fastMRI knee, R = 4: PromptMR.

    jaxrecon train experiments/promptmr_plus/knee_r4_promptmr.py --data fastmri/multicoil_train --out runs/knee
    jaxrecon train experiments/promptmr_plus/knee_r4_promptmr.py --small --data simulated --out runs/small

Published: NMSE 0.0051, PSNR 39.71 dB, SSIM 0.9264.

Deviations: R is one of the two that the published training mixes at random (4 and 8; Experiment has one); masks of the
validation are seeded by file name in this library's way.
"""

from promptmr_plus_settings import promptmr

from jaxrecon.training import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return promptmr("knee_r4", small=small)
