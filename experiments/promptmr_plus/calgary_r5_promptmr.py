r"""PromptMR+, benchmark Calgary-Campinas, R = 5: PromptMR.

    jaxrecon train experiments/promptmr_plus/calgary_r5_promptmr.py \
      --data calgary/Train --validation calgary/Val --out runs/calgary
    jaxrecon train experiments/promptmr_plus/calgary_r5_promptmr.py --small --data simulated --out runs/small

Published: PSNR 36.98 dB, SSIM 0.9496.

The published value is that of PromptMR+'s code, which has two forms of PromptMR; the row trains the one of its configurations,
on the combined image (the table does not say which of the two it shows).

Deviations: masks are drawn (Poisson disc after the challenge's), not those of the published files; slices 0 to 49 and 206 to
255 are validated too.
"""

from promptmr_plus_settings import promptmr

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return promptmr("calgary_r5", small=small)
