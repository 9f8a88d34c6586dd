"""Bad checkpoints."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from medquanbench import shelf
from tests.bad_input.bad import WEB_PAGE, Bad, Place, flags

GOOD = {"conv.weight": torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1, 1, 1), "conv.bias": torch.tensor([0.0, -1, -4])}


class Payload:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def file(name: str, content: Callable[[Place, Path], None]) -> Callable[[Place], list[str]]:
    """Weights in a file beside the bundle, made by a function."""

    def spoil(place: Place) -> list[str]:
        content(place, place.folder / name)
        return ["--weights", str(place.folder / name)]

    return spoil


def raw(name: str, data: bytes) -> Callable[[Place], list[str]]:
    return file(name, lambda place, path: path.write_bytes(data))


def tensors(name: str, **changed: object) -> Callable[[Place], list[str]]:
    """The good tensors with some others in their place."""
    content = GOOD | {key.replace("__", "."): value for key, value in changed.items()}
    return file(name, lambda place, path: torch.save(content, path))


def cut(name: str, kept: float) -> Callable[[Place], list[str]]:
    def content(place: Place, path: Path) -> None:
        (save_file if path.suffix == ".safetensors" else torch.save)(GOOD, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    return file(name, content)


def payload(place: Place, path: Path) -> None:
    torch.save({"state_dict": GOOD, "epoch": Payload(place.folder / "run-by-the-payload")}, path)


def old_training(place: Place, path: Path) -> None:
    """As nnU-Net 1 leaves it, with a payload among the numbers of its log."""
    log = ([0.5, 0.4], [0.6], [], Payload(place.folder / "run-by-the-payload"))
    torch.save({"epoch": 1000, "state_dict": GOOD, "plot_stuff": log, "lr_scheduler_state_dict": None}, path)


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Place, Path], None]:
    """The good checkpoint with another pickle in it."""

    def content(place: Place, path: Path) -> None:
        torch.save(GOOD, place.folder / "good.pt")
        with zipfile.ZipFile(place.folder / "good.pt") as good, zipfile.ZipFile(path, "w") as bad:
            for record in good.infolist():
                data = good.read(record)
                bad.writestr(record, change(data) if record.filename.endswith("data.pkl") else data)

    return content


def much_of_nothing(place: Place, path: Path) -> None:
    """A zip bomb: a record of 32 MB of zeros, which takes 32 kB."""
    torch.save(GOOD, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr("w/data/2", bytes(1 << 25))


# In a pickle: three numbers; a storage of ten thousand million; a shape of 3 x 10^9.
THREE, MANY = b"K\x03", b"\x8a\x05" + (10**10).to_bytes(5, "little")


def first_three(data: bytes) -> bytes:
    return data.replace(THREE, MANY, 1)


def last_three(data: bytes) -> bytes:
    before, _, after = data.rpartition(THREE)
    return before + MANY + after


def archive(place: Place, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("readme.txt", "no weights")


def program(place: Place, path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Conv3d(1, 3, 1), torch.zeros(1, 1, 2, 2, 2)), path)


def others(place: Place, path: Path) -> None:
    save_file({f"encoder.{number}.weight": torch.zeros(2) for number in range(5)}, path)


def folder(*names: str) -> Callable[[Place], list[str]]:
    def content(place: Place, path: Path) -> None:
        path.mkdir()
        for name in names:
            (path / name).write_bytes(b"")

    return file("checkpoints", content)


NAN = torch.tensor([0.0, float("nan"), 0.0])
WEIGHTS = {
    "Weights": [
        Bad(
            "weights that are a folder",
            folder("last.pt", "best.safetensors", "log.txt"),
            "a folder; name the file in it; there is: best.safetensors, last.pt",
        ),
        Bad("weights that are an empty folder", folder(), "a folder; name the file in it; there is: none"),
        Bad(
            "weights that are a dead link",
            file("w.pt", lambda place, path: path.symlink_to("gone.pt")),
            "is a link to gone.pt, which is missing",
        ),
        Bad("an empty file", raw("w.pt", b""), "it is empty"),
        Bad("a text", raw("w.pt", b"these are the weights"), "or not a checkpoint of torch"),
        Bad("a web page", raw("w.pth", WEB_PAGE), "it is a web page (a download that went wrong)"),
        Bad(
            "a web page named .safetensors",
            raw("w.safetensors", WEB_PAGE),
            "it is a web page (a download that went wrong)",
        ),
        Bad(
            "a pointer of Git LFS",
            raw("w.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
            "a pointer of Git LFS",
        ),
        Bad(
            "a zip archive of something else",
            file("w.pt", archive),
            "a zip archive without a checkpoint of torch in it",
        ),
        Bad("a TorchScript program", file("w.pt", program), "it is a TorchScript program"),
        Bad("a torch file that is cut off", cut("w.pt", 0.6), "it is cut off, damaged, or not a checkpoint of torch"),
        Bad(
            "a safetensors file that is cut off",
            cut("w.safetensors", 0.9),
            "it is cut off, damaged, or not a safetensors file",
        ),
        Bad(
            "code in a checkpoint, which is not run", file("w.pt", payload), "mkdir, which is no tensor and was not run"
        ),
        Bad(
            "code in the log of an old nnU-Net, which is not run",
            file("w.model", old_training),
            "mkdir, which is no tensor and was not run",
        ),
        Bad(
            "a storage larger than the file",
            file("w.pt", rewritten(first_three)),
            "it says that storage 0 has 40,000,000,000 bytes; it has 12 at most",
        ),
        Bad(
            "a tensor larger than its storage",
            file("w.pt", rewritten(last_three)),
            "it says that a tensor reaches from 0 to 9,999,999,999 in 3 numbers",
        ),
        Bad(
            "a zip archive that unfolds to a thousand times its size",
            file("w.pt", much_of_nothing),
            "MB cannot",
        ),
        Bad(
            "a whole network instead of its tensors",
            file("w.pt", lambda place, path: torch.save(torch.nn.Conv3d(1, 3, 1), path)),
            "torch.nn.modules.conv.Conv3d, which is no tensor",
        ),
        Bad(
            "a single tensor",
            file("w.pt", lambda place, path: torch.save(torch.ones(3), path)),
            "holds no tensors by name",
        ),
        Bad(
            "weights of another network",
            file("w.safetensors", others),
            "closest is demo: 2 missing, first conv.weight, conv.bias; 5 not known to the network, first encoder.0.",
        ),
        Bad(
            "a tensor of another shape",
            tensors("w.pt", conv__bias=torch.zeros(5)),
            "1 of another shape, first conv.bias (5,) for (3,)",
        ),
        Bad(
            "weights of another family",
            flags("--weights", str(shelf.shelf(shelf.BUNDLES) / "unetr" / "models" / "demo-btcv-phantom.safetensors")),
            "it fits unetr, variant demo exactly: --bundle unetr",
        ),
        Bad(
            "another number of classes",
            tensors("w.pt", conv__weight=torch.zeros(5, 1, 1, 1, 1), conv__bias=torch.zeros(5)),
            "closest is demo: its output layer has 5 classes where demo has 3",
        ),
        Bad(
            "another feature size",
            tensors("w.pt", conv__weight=torch.zeros(3, 4, 1, 1, 1)),
            "the layers are the same, of other sizes (1 of another shape, first conv.weight (3, 4, 1, 1, 1) for",
        ),
        Bad("NaN in a tensor", tensors("w.pt", conv__bias=NAN), "'conv.bias' holds NaN or infinity"),
        Bad(
            "numbers of 8 bits",
            tensors("w.pt", conv__bias=torch.zeros(3, dtype=torch.int8)),
            "'conv.bias' holds int8 numbers where the network has float32",
        ),
        Bad(
            "complex numbers",
            tensors("w.pt", conv__bias=torch.zeros(3, dtype=torch.complex64)),
            "'conv.bias' holds complex64 numbers",
        ),
        Bad("a sparse tensor", tensors("w.pt", conv__bias=torch.ones(3).to_sparse()), "'conv.bias' is packed"),
    ],
}
