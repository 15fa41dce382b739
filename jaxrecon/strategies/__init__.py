"""How the gradient of an unrolled network is obtained: interchangeable, one signature.

Example:
  >>> model = jr.models.unrolled(  # x <- x - t (x - y), from 0, each step with a t of its own
  ...     n_steps=4,
  ...     shared=False,
  ...     init_step=lambda key, x, y: jnp.float32(0.5),
  ...     start=lambda _, problem: (jnp.zeros_like(problem.kspace), problem.kspace),
  ...     step=lambda t, x, y, i: x - t * (x - y),
  ...     finish=lambda x, y: x,
  ... )
  >>> problem = jr.Problem.from_numpy(np.ones((1, 2, 2), "complex64"))
  >>> params = jax.jit(model.init)(jax.random.key(0), problem)
  >>> loss = lambda x, target: jnp.sum(jnp.abs(x - target) ** 2)
  >>> for strategy in (end_to_end(), gleam(n_modules=4)):
  ...     (value, aux), gradients = jax.jit(strategy(model, loss))(params, problem, problem.kspace)
  ...     print(float(value), gradients["steps"].tolist())
  0.015625 [-0.0625, -0.0625, -0.0625, -0.0625]
  0.015625 [-4.0, -1.0, -0.25, -0.0625]
"""

from .blockwise import blockwise
from .configs import (
    STRATEGIES,
    Blockwise,
    Checkpointed,
    DeepSupervision,
    EndToEnd,
    Gleam,
    GleamShared,
    Invertible,
    PGleam,
    StrategyConfig,
    stopped,
)
from .devices import data_parallel, join_hosts, module_mesh
from .end_to_end import checkpointed, deep_supervision, end_to_end
from .gleam import gleam
from .gleam_shared import gleam_shared
from .invertible import invertible
from .modules import per_module
from .p_gleam import Schedule, p_gleam
from .types import GradFn, Loss, Strategy
from .update import UpdateStrategy

__all__ = [
    "STRATEGIES",
    "Blockwise",
    "Checkpointed",
    "DeepSupervision",
    "EndToEnd",
    "Gleam",
    "GleamShared",
    "GradFn",
    "Invertible",
    "Loss",
    "PGleam",
    "Schedule",
    "Strategy",
    "StrategyConfig",
    "UpdateStrategy",
    "blockwise",
    "checkpointed",
    "data_parallel",
    "deep_supervision",
    "end_to_end",
    "gleam",
    "gleam_shared",
    "invertible",
    "join_hosts",
    "module_mesh",
    "p_gleam",
    "per_module",
    "stopped",
]
