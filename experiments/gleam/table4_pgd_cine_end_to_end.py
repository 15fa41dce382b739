"""GLEAM, Table IV, end-to-end, N = 4: PGD 2D + time, cine, R = 10, in equal memory.

    jaxrecon train experiments/gleam/table4_pgd_cine_end_to_end.py --data simulated --out runs/table4
    jaxrecon train experiments/gleam/table4_pgd_cine_end_to_end.py --small --data simulated --out runs/table4_small

The paper: SSIM 0.990 (0.009), nRMSE 0.070 (0.011), PSNR 41.71 (1.59) dB; 10.5 GB, 0.83 M parameters.

Deviations: the paper's cine data are not public: give your own, or beating hearts are simulated (--data simulated);
the FFT is centred; no partial echo, no circular padding in time (whether the paper had them is unknown).
50 features, as the table's number of parameters says (the text: 60).
"""

from gleam_settings import pgd_cine

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated hearts, for minutes on two cores."""
    return pgd_cine(deep=False, small=small)
