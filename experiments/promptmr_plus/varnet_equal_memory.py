"""E2E-VarNet whose training step needs as much memory as the small PromptMR+'s, simulated heads, R = 4.

    jaxrecon train experiments/promptmr_plus/varnet_equal_memory.py --small --data simulated --out runs/small

No published value: this comparison is ours, at equal updates, data, optimizer and loss.
"""

from promptmr_plus_settings import varnet_equal_memory

from jaxrecon.experiment import Experiment


def experiment(small: bool = False) -> Experiment:
    """E2E-VarNet at equal memory, which there is in the small size only (ValueError without small)."""
    return varnet_equal_memory(small=small)
