"""Experiments: what a training run is made of, and the networks that are built in."""
