"""The patch merging that all published SwinUNETR weights were trained with.

Origin: the concatenation order of MONAI 0.9 to 1.4 (Apache-2.0), restated; a class that MONAI's own SwinUNETR takes as
its ``downsample`` argument. MONAI 1.5.0 (pull request 8285) changed the order under the same state-dict keys, so that
older weights load without a word and give other labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.nets.swin_unetr import PatchMergingV2

# Offsets along the first, second and third spatial axis of the array, in channel order. Two of the eight sub-lattices
# appear twice and two (110, 011) never: that is how the weights were trained.
OFFSETS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))


class PatchMergingBefore15(PatchMergingV2):
    """Patch merging of MONAI before 1.5: ``(b, d, h, w, c) -> (b, d/2, h/2, w/2, 2c)``, odd sizes padded at the end.

    Same parameters and keys as MONAI's (``norm`` over 8c, ``reduction`` 8c -> 2c). Four-dimensional input (2D networks)
    goes to MONAI's own forward, whose order did not change.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() != 5:
            return super().forward(x)
        _, d, h, w, _ = x.shape
        if d % 2 or h % 2 or w % 2:
            x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2, 0, d % 2))
        x = torch.cat([x[:, i::2, j::2, k::2, :] for i, j, k in OFFSETS], dim=-1)
        return self.reduction(self.norm(x))
