"""PromptMR+, benchmark CMRxRecon 2023, R = 10: PromptMR+.

    jaxrecon train experiments/promptmr_plus/cmrxrecon_r10_promptmr_plus.py --data cmrxrecon/FullSample --out runs/cmrxrecon
    jaxrecon train experiments/promptmr_plus/cmrxrecon_r10_promptmr_plus.py --small --data simulated --out runs/small

cmrxrecon/FullSample holds the folders FullSample of the training sets of MultiCoil/Cine and MultiCoil/Mapping; those called
AccFactor are undersampled, without reference.

Published: PSNR, dB / SSIM: cine LAX 39.13/0.9605, SAX 39.99/0.9658, T1 40.37/0.9719, T2 38.22/0.9670.

Deviations: R is one of the three that the published training mixes (4, 8, 10); classes of scans are not balanced; all frames
and slices count in the score.
"""

from promptmr_plus_settings import promptmr_plus

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return promptmr_plus("cmrxrecon_r10", small=small)
