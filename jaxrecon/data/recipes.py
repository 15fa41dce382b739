"""Scales by name."""

from .preparation import instance_std, kspace_maximum, maximum, top_magnitude

SCALES = {
    "none": None,
    "maximum": maximum,
    "kspace_maximum": kspace_maximum,
    "top_magnitude": top_magnitude,
    "instance_std": instance_std,
}
