"""Accelerated MRI reconstruction as pure functions in JAX."""
