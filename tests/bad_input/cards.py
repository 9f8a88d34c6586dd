"""Bad dataset cards."""

from __future__ import annotations

from tests.bad_input.bad import Bad, Place, edit


def card(old: str, new: str) -> object:
    return edit(lambda place: place.card, old, new)


def no_text(place: Place) -> None:
    place.card.write_bytes(b"\xff\xfe\x00")


def no_labels(place: Place) -> None:
    place.card.write_text(place.card.read_text().split("[[label]]")[0])


def pairs(image: str, label: str = "labels/m1.nii.gz") -> object:
    rows = "".join(f'[[pairs]]\ncase = "{case}"\nimage = "{image}"\nlabel = "{label}"\n' for case in ("t1", "c1"))

    def spoil(place: Place) -> None:
        text = place.card.read_text()
        text = text.replace('[layout]\nimage = "images/{case}.nii.gz"\nlabel = "labels/{case}.nii.gz"\n', "")
        place.card.write_text(text + rows)

    return spoil


CARDS = {
    "Dataset cards": [
        Bad(
            "a card that is no TOML",
            card('name = "micro"', 'name = "micro'),
            "micro.toml is no dataset card: it is no TOML",
            library=True,
        ),
        Bad("a card that is no text", no_text, "micro.toml is no dataset card: it is no text"),
        Bad(
            "a card without a licence", card('licence = "CC0"', ""), "the dataset card data/micro.toml has no 'licence'"
        ),
        Bad("a card without labels", no_labels, "has no 'label'"),
        Bad("a name with a slash", card('"micro"', '"mi/cro"'), "'name' must be a name for files"),
        Bad("a version that is a text", card("version = 1", 'version = "one"'), "'version' must be a whole number"),
        Bad("a task that is not there", card('"segmentation"', '"dreams"'), "no task 'dreams'"),
        Bad("a split that is a text", card('["t1"]', '"t1"'), "'split' must be a table of lists of case names"),
        Bad("a split without cases", card('["m1", "m2", "m3", "m4", "m5", "m6", "m7"]', "[]"), "has no cases"),
        Bad("a case in two splits", card('"m1"', '"t1"'), "'t1' is named twice"),
        Bad("a case that is no file name", card('"m1"', '"../m1"'), "'../m1' is no case name"),
        Bad(
            "a tolerance that is a text", card("= 1.0", '= "1 mm"'), "label 1: 'tolerance_mm' must be a number above 0"
        ),
        Bad("a tolerance of 0", card("= 1.0", "= 0"), "label 1: 'tolerance_mm' must be a number above 0"),
        Bad("a tolerance of NaN", card("= 1.0", "= nan"), "label 1: 'tolerance_mm' must be a number above 0"),
        Bad("a label without a tolerance", card("tolerance_mm = 1.0", ""), "label 1 has no 'tolerance_mm'"),
        Bad(
            "a label with the index 0", card("index = 1", "index = 0"), "label 1: 'index' must be a whole number from 1"
        ),
        Bad("a label with an index in words", card("index = 1", 'index = "one"'), "label 1: 'index' must be a whole"),
        Bad("two labels with one index", card("index = 2", "index = 1"), "two labels have the index '1'"),
        Bad("two labels with one name", card('"high"', '"low"'), "two labels have the name 'low'"),
        Bad("a layout that leaves the data root", card('"images/', '"../'), "'../{case}.nii.gz' leaves the data root"),
        Bad("a layout from the root of the disk", card('"images/', '"/images/'), "leaves the data root"),
        Bad("a layout without the case", card("images/{case}", "images/one"), "needs {case} in it"),
        Bad("a layout with other brackets", card("{case}", "{case}{channel}"), "and no other brackets of that kind"),
        Bad("a layout with one file for both", card('"images/', '"labels/'), "image and label are the same file"),
        Bad("pairs that leave the data root", pairs("../m1.nii.gz"), "'../m1.nii.gz' leaves the data root"),
        Bad("pairs without all cases", pairs("images/m1.nii.gz"), "the split names 'm1', which has no files"),
        Bad("a phantom that is not there", card("task =", 'phantom = "moon/1"\ntask ='), "no phantom 'moon/1'"),
        Bad(
            "a phantom without seeds",
            card("task =", 'phantom = "btcv-phantom/1"\ntask ='),
            "9 cases of the split have no seed",
        ),
    ],
}
