r"""PromptMR+, benchmark fastMRI knee, R = 8: PromptMR+.

    jaxrecon train experiments/promptmr_plus/knee_r8_promptmr_plus.py \
      --data fastmri/multicoil_train --validation fastmri/multicoil_val --out runs/knee
    jaxrecon train experiments/promptmr_plus/knee_r8_promptmr_plus.py --small --data simulated --out runs/small

Published: NMSE 0.0078, PSNR 38.09 dB, SSIM 0.9012.

Deviations: R is one of the two that the published training mixes at random (4 and 8; Experiment has one); masks of the
validation are seeded by file name in this library's way; images narrower than 384 are padded with zeros, not by reflection, and
columns that were never acquired count as measured zeros in images of another width than the file's.
"""

from promptmr_plus_settings import promptmr_plus

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return promptmr_plus("knee_r8", small=small)
