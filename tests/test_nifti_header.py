"""What a header tells: real variety passes, what breaks the standard does not (the sentences: tests/bad_input)."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medquanbench.nifti_header import by, read_header
from medquanbench.values import RequestError

TURN = np.array([[0.8, -0.6, 0, 10], [0.6, 0.8, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])


def write(file: Path, kind=nibabel.Nifti1Image, affine: np.ndarray = TURN, **fields: object) -> Path:
    """A file with fields of its header as given, whatever nibabel thinks of them."""
    data = kind(np.zeros((4, 5, 6), np.int16), affine).to_bytes()
    size = kind.header_class.sizeof_hdr
    header = kind.header_class(data[:size], check=False)
    for key, value in fields.items():
        header[key] = value
    data = header.binaryblock + data[size:]
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return file


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_header_is_what_nibabel_reads(tmp_path, kind, name):
    file = write(tmp_path / name, kind)
    header, image = read_header(file), nibabel.load(file)
    assert header.shape == image.shape == (4, 5, 6)
    assert np.array_equal(header.affine, image.affine)


def test_either_byte_order(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), TURN)
    other = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), TURN, image.header.as_byteswapped())
    assert other.to_bytes()[:4] == image.to_bytes()[:4][::-1]
    (tmp_path / "a.nii").write_bytes(other.to_bytes())
    assert read_header(tmp_path / "a.nii").shape == (4, 5, 6)
    np.testing.assert_allclose(read_header(tmp_path / "a.nii").affine, TURN, atol=1e-5)


def test_a_quaternion_alone_and_no_orientation_at_all(tmp_path):
    np.testing.assert_allclose(
        read_header(write(tmp_path / "q.nii", sform_code=0, qform_code=1)).affine, TURN, atol=1e-5
    )
    none = read_header(write(tmp_path / "n.nii", sform_code=0, qform_code=0))
    np.testing.assert_allclose(np.abs(np.diag(none.affine)), (1, 1, 3, 1))


def test_a_qfac_of_0_stands_for_1(tmp_path):
    file = write(tmp_path / "a.nii", sform_code=0, qform_code=1, pixdim=[0, 1, 1, 3, 0, 0, 0, 0])
    np.testing.assert_allclose(read_header(file).affine, TURN, atol=1e-5)


@pytest.mark.parametrize("units", [0, 2, 10])
def test_millimetres_and_no_unit_are_taken(tmp_path, units):
    assert read_header(write(tmp_path / "a.nii", xyzt_units=units)).shape == (4, 5, 6)


@pytest.mark.parametrize("digits, right", [(6, True), (4, True), (2, False)])
def test_an_orientation_that_was_rounded(tmp_path, digits, right):
    angle = np.radians(17.3)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:2, 0] = turn[:2, 0].round(digits)
    file = write(tmp_path / "a.nii", affine=turn)
    if right:
        assert read_header(file).shape == (4, 5, 6)
    else:
        with pytest.raises(RequestError, match="degrees off a right angle"):
            read_header(file)


def test_an_uncompressed_file_must_hold_what_its_header_promises(tmp_path):
    file = write(tmp_path / "a.nii")
    whole = file.read_bytes()
    assert len(whole) == 352 + 4 * 5 * 6 * 2
    file.write_bytes(whole + b"more")
    assert read_header(file).shape == (4, 5, 6)
    file.write_bytes(whole[:-1])
    with pytest.raises(
        RequestError, match="its header promises 4 x 5 x 6 voxels, 592 bytes, and the file is too small"
    ):
        read_header(file)


def test_a_compressed_file_may_hold_a_thousand_times_its_size_and_no_more(tmp_path):
    file = write(tmp_path / "a.nii.gz", affine=np.eye(4))
    image = nibabel.Nifti1Image(np.zeros((100, 100, 100), np.uint8), np.eye(4))
    file.write_bytes(gzip.compress(image.to_bytes()))
    assert 100**3 / file.stat().st_size > 500, "nothing compresses better than zeros"
    assert read_header(file).shape == (100, 100, 100)
    data = bytearray(image.to_bytes())
    struct.pack_into("<3h", data, 42, 1100, 100, 100)
    file.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(RequestError, match="promises 1100 x 100 x 100 voxels"):
        read_header(file)


def test_the_names_of_files_and_what_is_in_them(tmp_path):
    write(tmp_path / "a.nii.gz").rename(tmp_path / "b.nii")
    with pytest.raises(RequestError, match="b.nii is no NIfTI file: it is compressed with gzip; its name must end in"):
        read_header(tmp_path / "b.nii")
    image = nibabel.Nifti1Pair(np.zeros((2, 2, 2), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "pair.hdr")
    with pytest.raises(RequestError, match="the header of a pair; a single .nii or .nii.gz is needed"):
        read_header(tmp_path / "pair.hdr")


def test_a_quaternion_that_is_none(tmp_path):
    with pytest.raises(RequestError, match="a.nii cannot be used: its header is damaged"):
        read_header(write(tmp_path / "a.nii", sform_code=0, qform_code=1, quatern_b=2.0))


def test_shapes_in_words():
    assert by((4, 5, 6)) == "4 x 5 x 6"
