"""The command line `jaxrecon`: one file per command, options as a dataclass, the work in `run`."""

from .main import main

__all__ = ["main"]
