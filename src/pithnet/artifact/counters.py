"""Which batch counters of normalisations a file must keep: those that a forward may read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from pithnet.artifact.layout import Entry, implied

# Their forward normalises by the running statistics and reads no counter in eval mode.
_OWN_FORWARD = ("torch.nn.modules.batchnorm", "torch.nn.modules.instancenorm")


def kept_counters(
    model: nn.Module, layout: Sequence[Entry], state: Mapping[str, Tensor]
) -> Iterator[tuple[int, int]]:
    """Yields the counters without a record that are not 0 and may be read.

    Torch's own normalisations do not read theirs in eval mode. A module with another forward may, be it a
    subclass of them, and so may one with hooks on it.

    Args:
        model: Any network.
        layout: The tensors of its file.
        state: Its `plain_state`.

    Yields:
        The place in the layout, and the number.
    """
    without_record = implied(layout)
    for place, entry in enumerate(layout):
        if entry.name not in without_record:
            continue
        module, count = model.get_submodule(entry.name.rpartition(".")[0]), int(state[entry.name])
        if count and not _ignores_its_counter(module):
            yield place, count


def _ignores_its_counter(module: nn.Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return not hooked and getattr(type(module).forward, "__module__", None) in _OWN_FORWARD
