"""What the works of Ramzi et al. say: the benchmark's table on two data sets, and the ranks of the fastMRI challenge of 2020.

R = 4, random masks. fastMRI: single-coil knee, 199 validation volumes; OASIS: 200 validation volumes, k-space by the FFT of
magnitude slices. Mean and standard deviation over volumes, range of a volume its maximum less its minimum; seconds for each volume.

Source: Ramzi et al. 2020, "Benchmarking MRI Reconstruction Neural Networks on Large Public Datasets": PSNR on fastMRI as the
author's PhD defense has it, the rest from the evaluation notebooks of its code, whose masks were drawn anew (zero-filled and
KIKI-net there 29.62 and 31.40 dB). Ranks: Muckley et al. 2021, as the defense quotes them.
"""

_COLUMNS = ("label", "parameters", "fastmri_psnr", "fastmri_ssim", "oasis_psnr", "oasis_ssim", "seconds")
BENCHMARK = {
    name: dict(zip(_COLUMNS, values, strict=True))
    for name, values in {
        "zero_filled": ("zero-filled", 0, (29.61, 2.65), (0.658, 0.117), (27.18, 2.31), (0.682, 0.039), 0.6),
        "wavelet": ("wavelets, FISTA", 0, None, None, None, None, None),
        "kiki": ("KIKI-net", 1_251_080, (31.38, 2.99), (0.714, 0.128), (31.37, 2.63), (0.883, 0.034), 8.9),
        "unet": ("U-Net", 481_801, (31.78, 3.27), (0.7205, 0.130), (31.37, 2.81), (0.888, 0.035), 1.2),
        "cascade": ("Cascade net", 424_570, (31.97, 3.48), (0.719, 0.136), (34.15, 4.49), (0.921, 0.045), 4.0),
        "pdnet": ("PDNet", 318_280, (32.15, 3.45), (0.729, 0.133), (35.58, 2.79), (0.947, 0.015), 6.2),
    }.items()
}
"""Row -> its values; the rows in the order of PSNR on fastMRI. The table has no wavelets: on a slide of the defense they are an image."""

CHALLENGE = {
    "AIRS": {4: 1.36, 8: 1.28},
    "NeuroSpin (XPDNet)": {4: 1.94, 8: 2.25},
    "ATB": {4: 2.22, 8: 2.28},
}
"""Team -> mean rank of its brain images among the three finalists, by radiologists, at R = 4 and 8."""
