"""What the Deep J-Sense paper says: Table 1, and what its figures and its supplement claim (they print no numbers).

Source: Arvinte et al., MICCAI 2021, Table 1, Figs. 2 to 4, and the supplement.
"""

LABELS = {"deep_jsense": "Deep J-Sense", "varnet": "E2E-VarNet", "modl": "MoDL"}

TABLE1 = {
    "modl": {"ssim": (0.815, 0.843, 0.115), "nmse": (0.0162, 0.0086, 0.0724)},
    "varnet": {"ssim": (0.824, 0.851, 0.107), "nmse": (0.0111, 0.0068, 0.0299)},
    "deep_jsense": {"ssim": (0.831, 0.858, 0.112), "nmse": (0.0389, 0.0062, 0.669)},
}
"""Method -> mean, median and standard deviation over 995 slices at R = 4."""
PARAMETERS = {"deep_jsense": 447_490, "varnet": 1_744_404, "modl": 223_745}
FIG3 = (
    "Deep J-Sense is best at every R; it falls off less steeply than MoDL; E2E-VarNet gains little from more data than it was "
    "trained with (R < 4)."
)
FIG4 = (
    "Deep J-Sense loses little as the calibration region shrinks, and is clearly better than E2E-VarNet at 6 lines; "
    "one line to 56."
)
SUPPLEMENT = "(N, n1 = n2) = (3, 12), (4, 9), (6, 6) and (9, 4): no significant difference; 3 iterations or fewer are slightly worse."
