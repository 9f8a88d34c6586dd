"""Flow: which layer or norm of a network makes a tensor in a forward, and who reads it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from medquanbench.quant.layers import is_norm, takes_means_away
from medquanbench.quant.quantized import QuantizedLayer

ANSWER = "the network's answer"

INSTANCE_NORM = "instance_norm"

COMMUTING = frozenset(
    "relu relu_ leaky_relu leaky_relu_ prelu dropout dropout1d dropout2d dropout3d feature_dropout "
    "max_pool1d max_pool2d max_pool3d _max_pool1d _max_pool2d _max_pool3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool3d interpolate upsample "
    "view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis squeeze unsqueeze "
    "contiguous clone detach to float roll pad __getitem__ narrow".split()
)
"""Functions of one tensor that commute with a positive factor for each channel, dropout being off; or that only move
values, so that a factor may move along."""

_LOOKING = frozenset(
    "__get__ size dim ndimension numel nelement stride is_contiguous data_ptr untyped_storage storage_offset "
    "get_device is_floating_point element_size is_complex is_inference __len__ __hash__".split()
)


@dataclass(eq=False)
class Value:
    """What a tensor holds between two changes of it.

    Attributes:
        maker: path of the layer or norm that made it, or the name of a function of torch.
        is_made_by_module: which of these.
        parent: of what a commuting function made this one, if it did.
        children: what commuting functions made of it.
        readers: paths of quantized layers and norms that read it, and names of all else that did.
    """

    maker: str
    is_made_by_module: bool = False
    parent: Value | None = None
    children: list[Value] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)

    def all_readers(self) -> Iterator[str]:
        """Of it and of all that commuting functions made of it."""
        yield from self.readers
        for child in self.children:
            yield from child.all_readers()

    def origin(self) -> Value:
        """What it became this of, by commuting functions alone."""
        return self if self.parent is None else self.parent.origin()


class Flow(TorchFunctionMode):
    """While it is entered, follows the tensors of one forward of a network. What happens inside layers is theirs.

    Attributes:
        made: path -> what a layer or norm answered, call by call.
        read: path of a quantized layer -> what it read, call by call.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.made: dict[str, list[Value]] = {}
        self.read: dict[str, list[Value]] = {}
        self.modules: dict[str, nn.Module] = {}
        for path, module in root.named_modules():
            if isinstance(module, QuantizedLayer):
                self.modules[module.path] = module
            elif is_norm(module):
                self.modules[path] = module
        self._root = root
        self._inside = 0
        self._values: dict[int, tuple[weakref.ref, Value]] = {}
        self._blind = {path for path, module in self.modules.items() if takes_means_away(module)} | {INSTANCE_NORM}

    def __enter__(self) -> Flow:
        self._hooks = []
        for path, module in self.modules.items():
            self._hooks.append(module.register_forward_pre_hook(self._before(path), with_kwargs=True))
            self._hooks.append(module.register_forward_hook(self._after(path), always_call=True))
        self._hooks.append(self._root.register_forward_hook(self._answered))
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._values.clear()
        super().__exit__(*error)

    def normed(self) -> frozenset[str]:
        """Layers whose answers an instance norm reads, and nothing else: what is added to a channel changes nothing."""
        return frozenset(
            path
            for path, values in self.made.items()
            if isinstance(self.modules[path], QuantizedLayer)
            and all(value.readers and not value.children and set(value.readers) <= self._blind for value in values)
        )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not self._inside:
            self._note(getattr(func, "__name__", str(func)), args, kwargs or {}, result)
        return result

    def _note(self, name: str, args: tuple, kwargs: dict, result: object) -> None:
        made = list(tensors(result))
        if not made and name in _LOOKING:
            return
        if name == INSTANCE_NORM and not kwargs.get("use_input_stats", args[5] if len(args) > 5 else True):
            name = "a norm with known means"
        first = next(iter(args), None)
        moved = self._value(first) if len(made) == 1 and _commutes(name, args, kwargs) else None
        for tensor in tensors((args, kwargs)):
            value = self._value(tensor)
            if value is not None and value is not moved:
                value.readers.append(name)
        for tensor in made:
            self._hold(tensor, Value(name, parent=moved))
        if moved is not None:
            moved.children.append(self._value(made[0]))

    def _before(self, path: str):
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            if not self._inside:
                for tensor in tensors((args, kwargs)):
                    value = self._value(tensor) or self._hold(tensor, Value("what comes from outside"))
                    value.readers.append(path)
                    self.read.setdefault(path, []).append(value)
            self._inside += 1

        return hook

    def _after(self, path: str):
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            self._inside -= 1
            if not self._inside:
                for tensor in tensors(output):
                    self.made.setdefault(path, []).append(self._hold(tensor, Value(path, is_made_by_module=True)))

        return hook

    def _answered(self, module: nn.Module, args: tuple, output: object) -> None:
        for tensor in tensors(output):
            value = self._value(tensor)
            if value is not None:
                value.readers.append(ANSWER)

    def _value(self, tensor: object) -> Value | None:
        made, value = self._values.get(id(tensor), (None, None))
        return value if made is not None and made() is tensor else None  # an id may be another tensor's by now

    def _hold(self, tensor: torch.Tensor, value: Value) -> Value:
        self._values[id(tensor)] = weakref.ref(tensor), value
        return value


def _commutes(name: str, args: tuple, kwargs: dict) -> bool:
    constant = kwargs.get("value", args[3] if len(args) > 3 else None) if name == "pad" else None
    return name in COMMUTING and not constant


def tensors(found: object) -> Iterable[torch.Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, (tuple, list)):
        for one in found:
            yield from tensors(one)
    elif isinstance(found, dict):
        yield from tensors(list(found.values()))
