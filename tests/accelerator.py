"""A pretended GPU: where tensors are is kept account of, and what a GPU would refuse is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
_READS = (Tensor.numpy, Tensor.__array__)
_ANYWHERE = (Tensor.copy_, Tensor.data.__set__, torch._has_compatible_shallow_copy_type)


class PretendedGpu(TorchFunctionMode):
    """Within it, `.to("cuda")` and `device="cuda"` mark tensors, and all is computed on the CPU all the same.

    So results are those of the CPU, to the bit, and a program that is ready for a GPU gives them. Raises
    RuntimeError where marked tensors meet unmarked ones (numbers and indices aside), TypeError where numpy
    reads a marked one. calls: how often each function got marked tensors; strays: the same, unmarked.
    """

    def __init__(self) -> None:
        super().__init__()
        self._marked: dict[int, StorageWeakRef] = {}
        self.calls: Counter[str] = Counter()
        self.strays: Counter[str] = Counter()

    def clear(self) -> None:
        """Forgets what was called."""
        self.calls.clear()
        self.strays.clear()

    def on_gpu(self, tensor: Tensor) -> bool:
        # A storage whose weak reference is kept is not made anew at the same address.
        return tensor.untyped_storage()._cdata in self._marked

    def _mark(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._marked[storage._cdata] = StorageWeakRef(storage)
        return tensor

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return CUDA if self.on_gpu(args[0]) else func(*args)
        if func == Tensor.is_cuda.__get__:
            return self.on_gpu(args[0])
        if func == Tensor.cpu:
            return args[0].clone() if self.on_gpu(args[0]) else args[0]
        if func == Tensor.to:
            return self._to(*args, **kwargs)
        return self._checked(func, args, kwargs)

    def _to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        here, wanted, rest = self.on_gpu(tensor), None, []
        for value in [kwargs.pop("device", None), *args]:
            if isinstance(value, Tensor):
                wanted, rest = self.on_gpu(value), [*rest, value.dtype]
            elif isinstance(value, str | torch.device):
                wanted = torch.device(value).type == "cuda"
            elif isinstance(value, torch.dtype):
                rest.append(value)
        kwargs |= {"dtype": rest[0]} if rest else {}
        there = here if wanted is None else wanted
        moved = tensor.to(**kwargs) if kwargs else tensor
        if there != here and moved is tensor:
            moved = tensor.clone()
        return self._mark(moved) if there else moved

    def _checked(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", str(func))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        marks = {self.on_gpu(t) for t in given if t.ndim}
        device = kwargs.get("device")
        made_there = isinstance(device, str | torch.device) and torch.device(device).type == "cuda"
        if made_there:
            kwargs["device"] = "cpu"
        (self.calls if any(map(self.on_gpu, given)) else self.strays)[name] += 1
        if func in _READS and self.on_gpu(given[0]):
            raise TypeError(f"{name}: can't convert a cuda tensor to numpy")
        indexed = name in ("__getitem__", "__setitem__") and self.on_gpu(given[0])
        if len(marks) > 1 and func not in _ANYWHERE and not indexed:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        generator = kwargs.get("generator")
        if generator is not None and (made_there or any(map(self.on_gpu, given))):
            raise RuntimeError(f"{name}: expected a 'cuda' generator and got a 'cpu' one")
        result = func(*args, **kwargs)
        if made_there or any(map(self.on_gpu, given)):
            self._mark_all(result, [t for t in given if not self.on_gpu(t)])
        return result

    def _mark_all(self, result: Any, unmarked: list[Tensor]) -> None:
        kept = {t.untyped_storage()._cdata for t in unmarked}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in kept:
                self._mark(tensor)
