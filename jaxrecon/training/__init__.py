"""Training: one loop for all models, losses and optimizers of the source works, evaluation, checkpoints, memory."""

from .. import losses
from ..strategies.freeze import freeze
from ..strategies.update import Metrics, TrainState, Update, UpdateFn, create_state, from_grad_fn
from . import optimizers
from .checkpoints import Checkpoints, RunFolder, load_best, load_config, load_params
from .evaluate import Scores, evaluate, evaluator
from .fit import Every, TrainingError, fit
from .log import read_log
from .memory import Memory, carry_bytes, compiled_memory, format_memory, memory_report, standard_strategies
from .state import evaluation_params
from .transformations import lookahead, step_decay

__all__ = [
    "Checkpoints",
    "Every",
    "Memory",
    "Metrics",
    "RunFolder",
    "Scores",
    "TrainState",
    "TrainingError",
    "Update",
    "UpdateFn",
    "carry_bytes",
    "compiled_memory",
    "create_state",
    "evaluate",
    "evaluation_params",
    "evaluator",
    "fit",
    "format_memory",
    "freeze",
    "from_grad_fn",
    "load_best",
    "load_config",
    "load_params",
    "lookahead",
    "losses",
    "memory_report",
    "optimizers",
    "read_log",
    "standard_strategies",
    "step_decay",
]
