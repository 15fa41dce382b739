"""Changes of experiments."""

import dataclasses


def with_data(experiment, **changes):
    """The experiment with other fields of its data."""
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, **changes))
