"""What the paper's Tables I to V say, as mean and standard deviation over test slices, GB and s per iteration.

The column that the tables call iter/sec behaves as seconds per iteration: its larger values are called slower.
Source: Ozturkler et al., GLEAM, Tables I to V.
"""

TABLES = {
    "table1": "Table I: PGD 2D, 3D FSE knees (mridata), N = 8",
    "table2": "Table II: MoDL 2D, 3D FSE knees (mridata), N = 8",
    "table3": "Table III: PGD 2D, fastMRI brain, R = 8, in equal memory",
    "table4": "Table IV: PGD 2D + time, cine, R = 10, in equal memory",
    "table5": "Table V: MoDL 2D + time, cine, R = 10, N = 4",
}

_SSIM_NRMSE_PSNR = ("ssim", "nrmse", "psnr")
_CS_R16 = ("CS, R = 16", (0.847, 0.009), (0.178, 0.011), (37.12, 0.28), {})
_CS_CINE = ("CS", (0.983, 0.013), (0.107, 0.043), (38.64, 3.13), {})
_NOT_CONVERGED = (None, None, None, {"note": "did not converge"})


def _row(label, ssim, nrmse, psnr, rest):
    return {"label": label, **dict(zip(_SSIM_NRMSE_PSNR, (ssim, nrmse, psnr), strict=True)), **rest}


ROWS = {
    name: _row(*values)
    for name, values in {
        "table1_pgd_r12_end_to_end": (
            "end-to-end, R = 12", (0.889, 0.006), (0.127, 0.007), (40.03, 0.33), {"gb": 11.1, "seconds": 1.39}),
        "table1_pgd_r12_gleam": (
            "GLEAM, R = 12", (0.913, 0.002), (0.127, 0.007), (40.09, 0.34), {"gb": 2.0, "seconds": 1.38}),
        "table1_cs_r12": ("CS, R = 12", (0.846, 0.010), (0.175, 0.010), (37.28, 0.27), {}),
        "table1_pgd_r16_end_to_end": (
            "end-to-end, R = 16", (0.892, 0.006), (0.133, 0.008), (39.66, 0.33), {"gb": 11.1, "seconds": 1.39}),
        "table1_pgd_r16_gleam": (
            "GLEAM, R = 16", (0.899, 0.004), (0.135, 0.008), (39.55, 0.33), {"gb": 2.0, "seconds": 1.38}),
        "table1_cs_r16": _CS_R16,
        "table2_modl_r4_end_to_end": (
            "end-to-end, R = 4", (0.934, 0.003), (0.098, 0.006), (42.30, 0.49), {"gb": 11.4, "seconds": 2.09}),
        "table2_modl_r4_checkpointed": (
            "checkpointing, R = 4", (0.934, 0.003), (0.099, 0.006), (42.26, 0.49), {"gb": 1.67, "seconds": 2.83}),
        "table2_modl_r4_mel": (
            "MEL, R = 4", (0.937, 0.003), (0.097, 0.006), (42.36, 0.47), {"gb": 1.67, "seconds": 2.96}),
        "table2_modl_r4_gleam": (
            "GLEAM, R = 4", (0.941, 0.005), (0.098, 0.007), (42.30, 0.50), {"gb": 1.57, "seconds": 2.08}),
        "table2_cs_r4": ("CS, R = 4", (0.841, 0.011), (0.167, 0.008), (37.69, 0.19), {}),
        "table2_modl_r16_end_to_end": (
            "end-to-end, R = 16", (0.893, 0.002), (0.134, 0.009), (39.59, 0.42), {"gb": 11.4, "seconds": 2.09}),
        "table2_modl_r16_checkpointed": (
            "checkpointing, R = 16", (0.893, 0.002), (0.134, 0.009), (39.58, 0.42), {"gb": 1.67, "seconds": 2.83}),
        "table2_modl_r16_mel": ("MEL, R = 16", *_NOT_CONVERGED),
        "table2_modl_r16_gleam": (
            "GLEAM, R = 16", (0.922, 0.008), (0.133, 0.009), (39.65, 0.45), {"gb": 1.57, "seconds": 2.08}),
        "table2_cs_r16": _CS_R16,
        "table3_pgd_r8_end_to_end": (
            "end-to-end, N = 8", (0.854, 0.036), (0.182, 0.014), (31.09, 1.13), {"gb": 9.9, "parameters": 2.19e6}),
        "table3_pgd_r8_gleam_n24_m3": (
            "GLEAM, N = 24, M = 3", (0.870, 0.033), (0.162, 0.015), (32.14, 1.22), {"gb": 10.2, "parameters": 6.57e6}),
        "table3_cs_r8": ("CS", (0.716, 0.055), (0.299, 0.065), (26.93, 1.90), {}),
        "table4_pgd_cine_end_to_end": (
            "end-to-end, N = 4", (0.990, 0.009), (0.070, 0.011), (41.71, 1.59), {"gb": 10.5, "parameters": 0.83e6}),
        "table4_pgd_cine_gleam_n12_m3": (
            "GLEAM, N = 12, M = 3", (0.993, 0.006), (0.057, 0.014), (43.50, 2.10), {"gb": 10.6, "parameters": 2.50e6}),
        "table4_cs_cine": _CS_CINE,
        "table5_modl_cine_end_to_end": (
            "end-to-end", (0.993, 0.005), (0.059, 0.015), (43.33, 2.15), {"gb": 11.2, "seconds": 4.26}),
        "table5_modl_cine_checkpointed": (
            "checkpointing", (0.993, 0.005), (0.059, 0.016), (43.35, 2.19), {"gb": 3.3, "seconds": 5.75}),
        "table5_modl_cine_mel": ("MEL", *_NOT_CONVERGED),
        "table5_modl_cine_gleam": (
            "GLEAM", (0.993, 0.006), (0.061, 0.017), (42.97, 2.25), {"gb": 3.1, "seconds": 4.29}),
        "table5_cs_cine": _CS_CINE,
    }.items()
}  # fmt: skip
"""Row, as its configuration file is called (cs: the baseline of run.py) -> label and values; each table in its order."""
