"""The six families of the paper and two more networks, as people know them, in the order of tables."""

MODELS = {
    "nnunet": "nnU-Net",
    "stunet": "STU-Net",
    "medformer": "MedFormer",
    "swinunetr": "Swin UNETR",
    "unetr": "UNETR",
    "unest": "UNesT",
    "segresnet": "SegResNet",
    "segformer3d": "SegFormer3D",
}
"""Folder on the shelf -> the name that people know."""
