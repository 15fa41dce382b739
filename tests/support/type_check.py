"""The type check of the suite: beartype holds every function of the package to its signature, shapes and dtypes included."""

import contextlib
import functools

import beartype
import jax
import jaxtyping

ROOMS = [
    f"jaxrecon.{room}"
    for room in (
        "classical", "coils", "complex_ops", "data", "experiment", "files", "fourier", "host", "metrics", "models", "nn",
        "plots", "problem", "recon", "sampling", "weights",
    )
]  # fmt: skip
"""Those whose signatures are checked; in operators, strategies and training tests hand over abstract arrays, or parts of a step."""
# as static checkers have it: an int may stand for a float, both for a complex number
_CONFIG = beartype.BeartypeConf(is_pep484_tower=True)


def checked(function):
    """What jaxtyping's import hook puts on each function of the package, and on `__init__` of each dataclass."""
    check = beartype.beartype(function, conf=_CONFIG)
    if function.__name__ != "__init__":
        return check

    @functools.wraps(function)
    def init(self, *args, **kwargs):
        # a PyTree is no subject: jax rebuilds it with anything as leaves, axes of vmap or shapes
        if not _is_pytree(self):
            check(self, *args, **kwargs)

    return init


def _is_pytree(empty):
    """Whether an object that has no attributes yet is of a class known to jax as a tree."""
    try:
        return not jax.tree_util.all_leaves([empty])
    except AttributeError:  # a leaf of it was asked for
        return True


@contextlib.contextmanager
def as_user():
    """Without the check, as users call the library: for tests of the errors that explain a wrong input."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
