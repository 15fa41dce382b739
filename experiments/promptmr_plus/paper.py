"""What is published of PromptMR+: benchmark values of the public code's table (PSNR in dB), and the claims of the talk.

Source: README of PromptMR+'s public code (12 cascades; its Calgary-Campinas values are better than those of the paper), and for
E2E-VarNet that of PromptMR (its weights were trained on the test volumes too). The paper's own tables are not quoted.
"""

LABELS = {
    "ablation_baseline": "plain unrolled (baseline)",
    "ablation_history": "+ history",
    "ablation_adaptive_input": "+ adaptive input",
    "knee_r4_promptmr_plus": "+ adjacent-slice maps = PromptMR+",
    "varnet_equal_parameters": "E2E-VarNet, equal parameters",
    "varnet_equal_memory": "E2E-VarNet, equal memory",
}
BENCHMARKS = {
    "knee_r4": "fastMRI knee, R = 4",
    "knee_r8": "fastMRI knee, R = 8",
    "calgary_r5": "Calgary-Campinas, R = 5",
    "calgary_r10": "Calgary-Campinas, R = 10",
    "cmrxrecon_r10": "CMRxRecon 2023, R = 10 (ours: over all scans)",
}
METHODS = {"promptmr_plus": "PromptMR+", "promptmr": "PromptMR", "varnet": "E2E-VarNet"}
CMR = "cine LAX {:.2f}/{:.4f}, SAX {:.2f}/{:.4f}, T1 {:.2f}/{:.4f}, T2 {:.2f}/{:.4f}"
PUBLISHED = {
    "knee_r4_varnet": "39.37 / 0.9236",
    "knee_r4_promptmr": "39.71 / 0.9264",
    "knee_r4_promptmr_plus": "39.92 / 0.9276",
    "knee_r8_varnet": "37.30 / 0.8936",
    "knee_r8_promptmr": "37.78 / 0.8984",
    "knee_r8_promptmr_plus": "38.09 / 0.9012",
    "calgary_r5_promptmr": "36.98 / 0.9496",
    "calgary_r5_promptmr_plus": "37.32 / 0.9516",
    "calgary_r10_promptmr": "34.32 / 0.9302",
    "calgary_r10_promptmr_plus": "34.87 / 0.9350",
    "cmrxrecon_r10_promptmr": CMR.format(38.28, 0.956, 39.18, 0.9615, 38.99, 0.9661, 37.21, 0.9622),
    "cmrxrecon_r10_promptmr_plus": CMR.format(39.13, 0.9605, 39.99, 0.9658, 40.37, 0.9719, 38.22, 0.967),
}
"""Row -> PSNR / SSIM."""
PICTURE = (
    "The talk's picture: of two plain unrolled networks one has too weak a prior (blurred structure), the other too strong a one "
    "(sharp but wrong), the adaptive one shows it sharp and right."
)
