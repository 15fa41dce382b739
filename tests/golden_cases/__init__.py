"""One module per topic; each maps a kind of golden file to a handler(case) -> {output name: value | Masked | Error | Unknown}."""

from . import (
    classical,
    coils,
    cross_domain,
    cross_domain_denoisers,
    data,
    deep_jsense,
    gleam,
    gleam_step,
    masks,
    metrics,
    modl,
    operators,
    promptmr,
    promptmr_masks,
    varnet,
)

HANDLERS = {}
for _module in (
    classical,
    coils,
    cross_domain,
    cross_domain_denoisers,
    data,
    deep_jsense,
    gleam,
    gleam_step,
    masks,
    metrics,
    modl,
    operators,
    promptmr,
    promptmr_masks,
    varnet,
):
    for _kind, _handler in _module.HANDLERS.items():
        assert _kind not in HANDLERS, f"two handlers for {_kind}"
        HANDLERS[_kind] = _handler
