"""Bad dataset cards."""

from __future__ import annotations

from tests.bad_input.bad import Bad, Place, edit


def card(old: str, new: str) -> object:
    return edit(lambda place: place.card, old, new)


def no_text(place: Place) -> None:
    place.card.write_bytes(b"\xff\xfe\x00")


def no_labels(place: Place) -> None:
    place.card.write_text(place.card.read_text().split("[[label]]")[0])


def ahead(*lines: str) -> object:
    """Lines ahead of the first table."""
    return card("[layout]", "".join(f"{line}\n" for line in lines) + "[layout]")


def layouts(*rows: str) -> object:
    """Other layouts instead of the one that is there."""
    old = '[layout]\nimage = "images/{case}.nii.gz"\nlabel = "labels/{case}.nii.gz"\n'
    return card(old, "".join(f"[[layout]]\n{row}\n" for row in rows))


def structures(place: Place) -> None:
    layouts('name = "a"\nimage = "{case}/ct.nii.gz"\nlabel = "{case}/{structure}.nii.gz"')(place)
    card('"low"', '"low/er"')(place)


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
        Bad(
            "a layout with a folder for each structure, and a structure with a slash",
            structures,
            "'low/er' cannot be the name of a file",
        ),
        Bad(
            "two layouts with one name",
            layouts(*2 * ('name = "a"\nimage = "i/{case}.nii"\nlabel = "l/{case}.nii"',)),
            "two layouts have the name 'a'",
        ),
        Bad(
            "one of several layouts without a name",
            layouts('image = "i/{case}.nii"\nlabel = "l/{case}.nii"'),
            "layout 1 has no 'name'",
        ),
        Bad(
            "a layout with more images than labels",
            layouts('name = "a"\nimage = ["i/{case}.nii", "j/{case}.nii"]\nlabel = ["l/{case}.nii"]'),
            "layout 1: 2 patterns for images, and 1 for labels",
        ),
        Bad(
            "a layout below a folder outside",
            layouts('name = "a"\nbelow = ["../b"]\nimage = "i/{case}.nii"\nlabel = "l/{case}.nii"'),
            "'../b' is no folder below the data root",
        ),
        Bad(
            "a layout with a structure in a folder's name",
            layouts('name = "a"\nimage = "i/{case}.nii"\nlabel = "{structure}/{case}.nii"'),
            "and no other brackets of that kind",
        ),
        Bad("a key that nobody reads", ahead('licence_of_labels = "CC0"'), "no key 'licence_of_labels' in what"),
        Bad("a misspelt key of a label", card("tolerance_mm", "tolerance_mm = 1.0\ntolerence_mm"), "is near"),
        Bad("two labels with one stored value", card("index = 2", "index = 2\nstored = 1"), "the stored value '1'"),
        Bad(
            "a stored value of 0",
            card("index = 2", "index = 2\nstored = 0"),
            "label 2: 'stored' must be a whole number",
        ),
        Bad("a background that is a label", ahead("background = [5, 2]"), "'background' holds 2, the value of 'high'"),
        Bad("a background twice", ahead("background = [5, 5]"), "'background' holds 5 twice"),
        Bad("a background in words", ahead('background = ["none"]'), "'background' must be a list of whole numbers"),
        Bad(
            "a patient of a case that no split names",
            ahead("[patient]", 'm9 = "anna"'),
            "'patient' names 'm9', which is in",
        ),
        Bad(
            "a range that leads nowhere",
            card('["t1"]', '{ first = "t1", last = "u9" }'),
            "no range leads from 't1' to 'u9'",
        ),
        Bad(
            "a range over a case that stands elsewhere",
            card('["c1"]', '{ first = "m7", last = "m9" }'),
            "'m7' is named twice",
        ),
        Bad(
            "a case twice in a published split",
            card("[[label]]", '[split.theirs]\ntest = ["m1"]\ntrain = ["m1"]\n[[label]]'),
            "'m1' is named twice",
        ),
        Bad(
            "a download from nowhere",
            ahead("[[download]]", 'file = "a.zip"'),
            "download 1 must have one of 'url' and 'zenodo'",
        ),
        Bad(
            "a download from a file's address",
            ahead("[[download]]", 'file = "a.zip"', 'url = "file:///etc/passwd"'),
            "'url' must be a text that begins with https://",
        ),
        Bad(
            "a download into another folder",
            ahead("[[download]]", 'file = "../a.zip"', 'zenodo = "1"'),
            "download 1: 'file' must be a name for files",
        ),
        Bad(
            "a download with half a checksum",
            ahead("[[download]]", 'file = "a.zip"', 'zenodo = "1"', 'md5 = "abc"'),
            "download 1: 'md5' must be 32 hexadecimal digits",
        ),
        Bad("access without steps", ahead("[access]"), "access has no 'steps'"),
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
