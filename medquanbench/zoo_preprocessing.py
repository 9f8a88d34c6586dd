"""The preprocessing of a bundle from elsewhere, for images alone and under the key that is used here (floor 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.transforms import Compose
from monai.transforms.utils import allow_missing_keys_mode


class ImageOnly(Compose):
    """A bundle's own transforms, of which those for labels do nothing; the image goes in and comes out as ``image``.

    Args:
        transform: the bundle's ``preprocessing``.
        key: what the bundle calls its image.
    """

    def __init__(self, transform: Callable, key: str) -> None:
        super().__init__([transform])
        self.key = key

    def __call__(self, data: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        with allow_missing_keys_mode(self):
            return {"image": super().__call__({self.key: data["image"]}, *args, **kwargs)[self.key]}

    def inverse(self, data: dict[str, Any]) -> dict[str, Any]:
        """Undo it: ``{"image": tensor}`` with its applied operations -> the same on the image's own grid."""
        with allow_missing_keys_mode(self):
            return {"image": super().inverse({self.key: data["image"]})[self.key]}
