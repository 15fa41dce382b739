"""The type check of the suite: beartype holds every annotated function of the package to its signature, shapes and dtypes too."""

import functools

import beartype

# as type checkers have it, an int is a float and both are complex
_CONFIG = beartype.BeartypeConf(is_pep484_tower=True)


def checked(function):
    """The decorator that jaxtyping's import hook puts on each function of the package, and on `__init__` of each dataclass."""
    check = beartype.beartype(function, conf=_CONFIG)
    if function.__name__ != "__init__":
        return check

    @functools.wraps(function)
    def init(self, *args, **kwargs):
        # jax rebuilds PyTrees with anything as leaves: axes of vmap, shapes, shardings
        if not hasattr(self, "_flax_dataclass"):
            check(self, *args, **kwargs)

    return init
