"""Names in trees of parameters: what a pattern that names nothing may have meant."""

import pytest

from jaxrecon.checks import UserError
from jaxrecon.trees import check_frozen

LAYERS = {f"conv_{i}": {"bias": 0, "kernel": 0} for i in range(40)}
TREE = {"start": {"norm_unet": {"params": LAYERS}}, "steps": {"net": {"params": {"block_0": LAYERS, "prompt": 0}}}}


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        ("steps/net/block_0", "steps/net/params/block_0/"),
        ("start/norm_unet/params/conv7/kernel", "start/norm_unet/params/conv_7/kernel"),
        ("prompt", "steps/net/params/prompt"),
        ("*/promt", "steps/net/params/prompt"),
        ("Start", "start/"),
    ],
)
def test_a_pattern_that_names_nothing_is_told_the_nearest_names(pattern, nearest):
    with pytest.raises(UserError) as error:
        check_frozen(TREE, [pattern])
    head, names = str(error.value).split("; there are ")
    assert head == f"no parameter is called {pattern}, which is to be frozen"
    shown, more = names.split(" and ")
    assert shown.split(", ")[0] == nearest and len(shown.split(", ")) == 12
    n_leaves, n_folders = 161, 87
    assert more == f"{n_leaves + n_folders - 12} more"


def test_few_names_are_all_told():
    with pytest.raises(UserError, match=r"there are steps/b, steps/, start/a, start/$"):
        check_frozen({"start": {"a": 0}, "steps": {"b": 0}}, ["steps/bb"])
