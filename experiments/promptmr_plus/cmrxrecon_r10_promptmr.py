"""PromptMR+, benchmark CMRxRecon 2023, R = 10: PromptMR.

    jaxrecon train experiments/promptmr_plus/cmrxrecon_r10_promptmr.py --data cmrxrecon/FullSample --out runs/cmrxrecon
    jaxrecon train experiments/promptmr_plus/cmrxrecon_r10_promptmr.py --small --data simulated --out runs/small

cmrxrecon/FullSample holds the folders FullSample of the training sets of MultiCoil/Cine and MultiCoil/Mapping; those called
AccFactor are undersampled, without reference.

Published: PSNR, dB / SSIM: cine LAX 38.28/0.9560, SAX 39.18/0.9615, T1 38.99/0.9661, T2 37.21/0.9622.

The published value is that of PromptMR+'s code, which has two forms of PromptMR; the row trains the one of its configurations,
on the combined image (the table does not say which of the two it shows).

Deviations: R is one of the three that the published training mixes (4, 8, 10); classes of scans are not balanced; all frames
and slices count in the score.
"""

from promptmr_plus_settings import promptmr

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same at a small size on simulated heads."""
    return promptmr("cmrxrecon_r10", small=small)
