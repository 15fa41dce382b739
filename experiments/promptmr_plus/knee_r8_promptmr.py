r"""PromptMR+, benchmark fastMRI knee, R = 8: PromptMR.

    jaxrecon train experiments/promptmr_plus/knee_r8_promptmr.py \
      --data fastmri/multicoil_train --validation fastmri/multicoil_val --out runs/knee
    jaxrecon train experiments/promptmr_plus/knee_r8_promptmr.py --small --data simulated --out runs/small

Published: NMSE 0.0080, PSNR 37.78 dB, SSIM 0.8984.

The published value is that of PromptMR+'s code, which has two forms of PromptMR; the row trains the one of its configurations,
on the combined image (the table does not say which of the two it shows).

Deviations: R is one of the two that the published training mixes at random (4 and 8; Experiment has one); masks of the
validation are seeded by file name in this library's way; images narrower than 384 are padded with zeros, not by reflection, and
columns that were never acquired count as measured zeros in images of another width than the file's.
"""

from promptmr_plus_settings import promptmr

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return promptmr("knee_r8", small=small)
