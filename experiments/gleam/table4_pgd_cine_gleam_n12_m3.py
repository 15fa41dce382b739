"""GLEAM, Table IV, GLEAM, N = 12, M = 3: PGD 2D + time, cine, R = 10, in equal memory.

    jaxrecon train experiments/gleam/table4_pgd_cine_gleam_n12_m3.py --data simulated --out runs/table4
    jaxrecon train experiments/gleam/table4_pgd_cine_gleam_n12_m3.py --small --data simulated --out runs/table4_small

The paper: SSIM 0.993 (0.006), nRMSE 0.057 (0.014), PSNR 43.50 (2.10) dB; 10.6 GB, 2.50 M parameters.

Deviations: the paper's cine data are not public: give your own, or beating hearts are simulated (--data simulated);
the FFT is centred; no partial echo, no circular padding in time (whether the paper had them is unknown).
50 features, as the table's number of parameters says (the text: 60).
"""

from gleam_settings import pgd_cine

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """The published setting; small: the same on simulated hearts, for minutes on two cores."""
    return pgd_cine(deep=True, small=small)
