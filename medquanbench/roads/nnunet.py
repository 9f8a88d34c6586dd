"""The road of nnU-Net's results folders: nnunetv2's own reading, windows and way back, around our network."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medquanbench.images import LabelMap
from medquanbench.infer import Volume
from medquanbench.nnunet_case import carry_back, prepare
from medquanbench.nnunet_plan import Plan, nnunetv2
from medquanbench.roads.road import Begin, Network, Watch
from medquanbench.values import RequestError, RunError

if TYPE_CHECKING:
    from medquanbench.bundle import Bundle

_BLOCK_BYTES = 16 << 20
_INFINITE = "Encountered inf"  # how the predictor's message begins


def nnunet(
    network: Network, bundle: Bundle, images: tuple[Path, ...], device: str, begin: Begin | None = None
) -> LabelMap:
    """As nnUNetv2_predict without mirroring: the same labels, voxel for voxel, of the same float network on a CPU.

    On a GPU nnU-Net computes in half precision; here the network keeps its own, so that FP32 means FP32.

    Raises:
        RequestError: see :func:`medquanbench.nnunet_case.prepare`; the plan does not lead back to the image's grid.
        RunError: the network's output holds NaN or infinity, or is too large for the half-precision sums of nnU-Net.
    """
    plan = _plan_of(bundle)
    case = prepare(plan, images)
    watch = begin(case.volume.grid) if begin else None
    logits = _slide(network, plan, case.volume.tensor, device, 1 - bundle.window.overlap)
    if watch is not None:
        _hand_out(logits, watch)
    answer = carry_back(plan, case, logits)
    if answer.labels.shape != case.image.shape:
        there, needed = (" x ".join(map(str, shape)) for shape in (answer.labels.shape, case.image.shape))
        raise RequestError(f"nnunetv2 carries the answer back to {there} voxels; {images[0]} has {needed}")
    return answer


def nnunet_volume(bundle: Bundle, images: tuple[Path, ...]) -> Volume:
    """What nnU-Net's network reads of a case: (channel, network's axes) float32, and its grid.

    Raises:
        RequestError: see :func:`medquanbench.nnunet_case.prepare`.
    """
    return prepare(_plan_of(bundle), images).volume


def _plan_of(bundle: Bundle) -> Plan:
    config = json.loads(bundle.config)
    return Plan(**{key: value for key, value in config["plan"].items() if key != "_target_"})


def _slide(network: Network, plan: Plan, image: torch.Tensor, device: str, step: float) -> torch.Tensor:
    """nnU-Net's sliding window: logits (class, network's axes) float16."""
    inference, views = nnunetv2("inference.predict_from_raw_data"), plan.managers
    benchmark = torch.backends.cudnn.benchmark
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            predictor = inference.nnUNetPredictor(
                tile_step_size=step,
                use_gaussian=True,
                use_mirroring=False,
                perform_everything_on_device=device == "cuda",
                device=torch.device(device),
                allow_tqdm=False,
            )
            # The predictor lets cuDNN choose its algorithms by the clock, and a second run may round otherwise.
            torch.backends.cudnn.benchmark = benchmark
            predictor.manual_initialization(
                _OwnPrecision(network), views.plans, views.configuration, None, views.dataset, "", None
            )
            logits = predictor.predict_sliding_window_return_logits(image)
    except RuntimeError as error:
        if not str(error).startswith(_INFINITE):
            raise
        logits = torch.full((1,), torch.inf)
    if not torch.isfinite(logits).all():
        raise RunError("the network's output holds NaN or infinity, or values above 65504 (nnU-Net sums in 16 bits)")
    return logits


class _OwnPrecision(torch.nn.Module):
    """The network, kept out of the autocast that the predictor switches on."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        with torch.autocast(window.device.type, enabled=False):
            return self.network(window)


def _hand_out(logits: torch.Tensor, watch: Watch) -> None:
    planes = max(_BLOCK_BYTES // (4 * logits[:, 0].numel()), 1)
    for first in range(0, logits.shape[1], planes):
        watch((first, 0, 0), logits[:, first : first + planes].float())
