r"""PromptMR+, benchmark Calgary-Campinas, R = 5: PromptMR+.

    jaxrecon train experiments/promptmr_plus/calgary_r5_promptmr_plus.py \
      --data calgary/Train --validation calgary/Val --out runs/calgary
    jaxrecon train experiments/promptmr_plus/calgary_r5_promptmr_plus.py --small --data simulated --out runs/small

Published: PSNR 37.32 dB, SSIM 0.9516.

Deviations: masks are drawn (Poisson disc after the challenge's), not those of the published files; slices 0 to 49 and 206 to
255 are validated too.
"""

from promptmr_plus_settings import promptmr_plus

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return promptmr_plus("calgary_r5", small=small)
