"""Foreign images become DICOM: at the same place, with the same values, saying that they are derived."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from pacsai.volume import read_volume
from pacsai.volume.pixels import read_image
from pacsai.wrap import About, WrapError, wrap, write_ct
from tests.conftest import needs
from tests.phantoms import axial_affine, distinct_voxels, instances

NIBABEL: Any = nibabel  # typed in part only
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MAMMOGRAM = About(laterality="L", view="MLO", patient_orientation=("A", "FR"), spacing_mm=(0.1, 0.1))


def nifti(path: Path, voxels_kji: np.ndarray[Any, Any], affine_lps: np.ndarray[Any, Any]) -> Path:
    image = NIBABEL.Nifti1Image(voxels_kji.T, RAS @ affine_lps)
    image.to_filename(path)
    return path


def picture(path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def errors_of_dciodvfy(path: Path) -> list[str]:
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in run.stderr.splitlines() if line.startswith("Error")]


def header(path: Path) -> Dataset:
    return dcmread(path, stop_before_pixels=True)


# --- volumes ---


def test_a_nifti_volume_lies_where_it_lay(tmp_path: Path) -> None:
    affine = axial_affine()
    voxels = distinct_voxels()
    written = wrap([nifti(tmp_path / "t1.nii.gz", voxels, affine)], "MR", tmp_path / "out")
    volume = read_volume(instances(written))
    np.testing.assert_array_equal(volume.array, voxels)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


@pytest.mark.parametrize("flips", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_turned_axes_are_stored_upright_with_every_voxel_in_place(tmp_path: Path, flips: tuple[int, int, int]) -> None:
    affine = axial_affine()
    affine[:3, :3] = affine[:3, :3] * flips
    voxels = distinct_voxels()
    volume = read_volume(instances(wrap([nifti(tmp_path / "t1.nii", voxels, affine)], "MR", tmp_path / "out")))
    assert (np.diag(volume.affine) > 0).all()
    for kji in ((0, 0, 0), (4, 2, 1), (1, 6, 5)):
        i, j, k = (affine @ (*reversed(kji), 1))[:3], kji, voxels[kji]
        found = tuple(np.rint(volume.index_kji(i)).astype(int))
        assert volume.array[found] == k, j


@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (1, 1, 1)), ("RAS", (-1, -1, 1)), ("left-anterior-superior", (1, -1, 1))],
)
def test_an_nrrd_volume_lies_where_it_lay(tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
    affine = axial_affine()
    theirs = np.diag([*signs, 1.0]) @ affine
    nrrd.write(
        str(tmp_path / "ct.nrrd"),
        distinct_voxels().T,
        {"space": space, "space directions": theirs[:3, :3].T, "space origin": theirs[:3, 3]},
    )
    volume = read_volume(instances(wrap([tmp_path / "ct.nrrd"], "CT", tmp_path / "out")))
    np.testing.assert_array_equal(volume.array, distinct_voxels())
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)


def test_real_numbers_come_back_within_a_step_of_sixteen_bits(tmp_path: Path) -> None:
    values = np.linspace(-3.5, 900, 5 * 7 * 6).reshape(5, 7, 6).astype(np.float32)
    written = wrap([nifti(tmp_path / "flair.nii", values, axial_affine())], "MR", tmp_path / "out")
    np.testing.assert_allclose(read_volume(instances(written)).array, values, atol=903.5 / 65535)


def test_an_image_of_one_value(tmp_path: Path) -> None:
    values = np.full((3, 4, 4), 0.25, dtype=np.float32)
    written = wrap([nifti(tmp_path / "flat.nii", values, axial_affine())], "MR", tmp_path / "out")
    np.testing.assert_allclose(read_volume(instances(written)).array, values)


def test_sequences_of_one_brain_share_study_and_space_where_that_is_said(tmp_path: Path) -> None:
    files = [
        nifti(tmp_path / f"{name}.nii", distinct_voxels() + n, axial_affine()) for n, name in enumerate(("t1", "t2"))
    ]
    apart = [header(path) for path in wrap(files, "MR", tmp_path / "apart")]
    together = [header(path) for path in wrap(files, "MR", tmp_path / "together", same_space=True)]
    assert {h.SeriesDescription for h in apart} == {"t1", "t2"}
    for found, frames in ((apart, 2), (together, 1)):
        assert len({h.StudyInstanceUID for h in found}) == 1
        assert len({h.SeriesInstanceUID for h in found}) == 2
        assert len({h.FrameOfReferenceUID for h in found}) == frames
        assert len({h.SOPInstanceUID for h in found}) == 10


def test_contrast_medium_and_pulse_times_are_said_only_where_the_caller_says_them(tmp_path: Path) -> None:
    files = [nifti(tmp_path / f"{name}.nii.gz", distinct_voxels(), axial_affine()) for name in ("t1", "t1post")]
    plain = [header(path) for path in wrap(files, "MR", tmp_path / "plain")]
    said = [header(path) for path in wrap(files, "MR", tmp_path / "said", contrast={"t1post": "gadobutrol"})]
    assert not any("ContrastBolusAgent" in h for h in plain)
    assert {(h.SeriesDescription, h.get("ContrastBolusAgent")) for h in said} == {
        ("t1", None), ("t1post", "gadobutrol"),
    }  # fmt: skip
    for found in (*plain, *said):
        assert not any(found.get(keyword) for keyword in ("EchoTime", "RepetitionTime", "InversionTime"))


@pytest.mark.parametrize("contrast", [{"t2": "gadobutrol"}, {"t1": ""}])
def test_contrast_medium_of_no_file_or_no_name_is_refused(tmp_path: Path, contrast: dict[str, str]) -> None:
    file = nifti(tmp_path / "t1.nii.gz", distinct_voxels(), axial_affine())
    with pytest.raises(WrapError, match="names no file here, or no agent"):
        wrap([file], "MR", tmp_path / "out", contrast=contrast)


def test_wrapping_twice_gives_the_same_objects_and_other_voxels_others(tmp_path: Path) -> None:
    def uids(name: str, add: int) -> list[str]:
        source = nifti(tmp_path / "t1.nii", distinct_voxels() + add, axial_affine())
        return [header(path).SOPInstanceUID for path in wrap([source], "MR", tmp_path / name)]

    assert uids("first", 0) == uids("second", 0)
    assert not set(uids("first", 0)) & set(uids("third", 1))


def test_what_is_said_about_the_study_stands_in_every_header(tmp_path: Path) -> None:
    about = About(
        patient_id="P1",
        patient_name="Doe^Jane",
        accession_number="A7",
        study="baseline",
        study_description="Brain follow-up",
        series_description="FLAIR",
        body_part="BRAIN",
        acquired=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    source = nifti(tmp_path / "x.nii", distinct_voxels(), axial_affine())
    for found in map(header, wrap([source], "MR", tmp_path / "out", about)):
        assert (found.PatientID, str(found.PatientName), found.AccessionNumber) == ("P1", "Doe^Jane", "A7")
        assert (found.StudyDescription, found.SeriesDescription) == ("Brain follow-up", "FLAIR")
        assert (found.BodyPartExamined, found.StudyDate, found.StudyTime) == ("BRAIN", "20260102", "030405")
        assert found.ImageType[:2] == ["DERIVED", "PRIMARY"]
        assert found.DerivationDescription == "made of x.nii, which was not DICOM"
    again = wrap([source], "MR", tmp_path / "again", About(patient_id="P1", study="baseline", series_number=4))
    assert header(again[0]).StudyInstanceUID == found.StudyInstanceUID
    assert again[0].parent.name == "004"


# --- flat images ---


def test_flat_images_keep_their_pixels_and_get_no_spacing(tmp_path: Path) -> None:
    eight = np.arange(35, dtype=np.uint8).reshape(5, 7)
    sixteen = (np.arange(35, dtype=np.uint16) * 1800).reshape(5, 7)
    files = [
        picture(tmp_path / "a.png", eight),
        picture(tmp_path / "b.png", sixteen),
        picture(tmp_path / "c.pgm", eight),
        picture(tmp_path / "d.png", np.stack([eight] * 3, axis=-1)),
    ]
    written = wrap(files, "CR", tmp_path / "out", About(body_part="CHEST", view="PA"))
    for instance, expected in zip(instances(written), (eight, sixteen, eight, eight), strict=True):
        np.testing.assert_array_equal(read_image(instance), expected)
        assert not {"PixelSpacing", "ImagerPixelSpacing", "LossyImageCompression"} & set(instance.header.dir())
        assert instance.header.ViewPosition == "PA"
    assert [header(path).InstanceNumber for path in written] == [1, 2, 3, 4]


def test_a_jpeg_is_marked_as_lossy(tmp_path: Path) -> None:
    (written,) = wrap([picture(tmp_path / "a.jpg", np.full((64, 64), 90, np.uint8))], "DX", tmp_path / "out")
    found = header(written)
    assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert found.LossyImageCompressionRatio > 1


def test_a_mammogram_says_side_view_and_spacing(tmp_path: Path) -> None:
    (written,) = wrap([picture(tmp_path / "a.png", np.eye(9, dtype=np.uint8))], "MG", tmp_path / "out", MAMMOGRAM)
    found = header(written)
    assert (found.ImageLaterality, found.ViewPosition, found.ViewCodeSequence[0].CodeValue) == ("L", "MLO", "399368009")
    assert list(found.ImagerPixelSpacing) == [0.1, 0.1]


@pytest.mark.parametrize("suffix", ["png", "pgm", "jpg"])
def test_a_mammogram_is_made_of_any_flat_image(tmp_path: Path, suffix: str) -> None:
    pixels = np.tile(np.arange(64, dtype=np.uint8), (48, 1))
    about = About(laterality="L", view="CC")
    (written,) = wrap([picture(tmp_path / f"a.{suffix}", pixels)], "MG", tmp_path / "out", about)
    (instance,) = instances([written])
    assert (instance.header.Modality, instance.header.ImageLaterality, instance.header.ViewPosition) == (
        "MG",
        "L",
        "CC",
    )
    np.testing.assert_allclose(read_image(instance), pixels, atol=0 if suffix != "jpg" else 4)


@pytest.mark.parametrize("about", [About(), About(laterality="L"), About(view="CC"), About(laterality="L", view="PA")])
def test_a_mammogram_without_side_or_view_is_refused(tmp_path: Path, about: About) -> None:
    with pytest.raises(WrapError, match="laterality"):
        wrap([picture(tmp_path / "a.png", np.eye(9, dtype=np.uint8))], "MG", tmp_path / "out", about)


# --- generated voxels ---


def test_a_generated_ct_says_so(tmp_path: Path) -> None:
    written = write_ct(tmp_path, distinct_voxels(), axial_affine(), header={"KVP": 120})
    volume = read_volume(instances(written))
    np.testing.assert_array_equal(volume.array, distinct_voxels())
    found = header(written[0])
    assert found.ImageType == ["DERIVED", "PRIMARY", "AXIAL"]
    assert found.DerivationDescription == "generated phantom"
    assert (found.KVP, found.Modality, found.PatientID) == (120, "CT", "PHANTOM")


def test_slanted_voxels_are_refused(tmp_path: Path) -> None:
    affine = axial_affine()
    affine[1, 2] = 0.4
    with pytest.raises(WrapError, match="right angles"):
        write_ct(tmp_path, distinct_voxels(), affine)


# --- what cannot become DICOM ---


def refused(file: Path, modality: str, out: Path) -> str:
    with pytest.raises(WrapError) as error:
        wrap([file], modality, out, About(laterality="L", view="CC"))
    assert not out.exists()
    return str(error.value)


def test_four_dimensions(tmp_path: Path) -> None:
    NIBABEL.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)).to_filename(tmp_path / "bold.nii")
    assert refused(tmp_path / "bold.nii", "MR", tmp_path / "out") == (
        "bold.nii: 4 dimensions (4, 4, 4, 2): one volume of three dimensions is taken"
    )


def test_a_fourth_dimension_of_one_is_none(tmp_path: Path) -> None:
    NIBABEL.Nifti1Image(np.ones((4, 4, 4, 1), np.int16), np.eye(4)).to_filename(tmp_path / "t1.nii")
    assert len(wrap([tmp_path / "t1.nii"], "MR", tmp_path / "out")) == 4


def test_a_nifti_without_orientation(tmp_path: Path) -> None:
    image = NIBABEL.Nifti1Image(np.zeros((4, 4, 4), np.int16), None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    image.to_filename(tmp_path / "lost.nii")
    assert "left and right" in refused(tmp_path / "lost.nii", "MR", tmp_path / "out")


def test_an_nrrd_without_orientation(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "lost.nrrd"), np.zeros((4, 4, 4), np.int16))
    assert "left and right" in refused(tmp_path / "lost.nrrd", "MR", tmp_path / "out")


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    values = np.full((3, 4, 4), np.nan, dtype=np.float32)
    assert "NaN" in refused(nifti(tmp_path / "t1.nii", values, axial_affine()), "MR", tmp_path / "out")


def test_values_that_are_no_hounsfield_units(tmp_path: Path) -> None:
    values = np.full((3, 4, 4), 1e6, dtype=np.float32)
    assert "Hounsfield" in refused(nifti(tmp_path / "ct.nii", values, axial_affine()), "CT", tmp_path / "out")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour(tmp_path: Path, mode: str) -> None:
    colours = np.zeros((5, 5, 3), np.uint8)
    colours[2, 2] = (200, 10, 10)
    Image.fromarray(colours).convert(mode).save(tmp_path / "photo.png")
    assert "colour" in refused(tmp_path / "photo.png", "CR", tmp_path / "out")


@pytest.mark.parametrize("name", ["notes.txt", "photo.png", "t1.nii.gz", "ct.nrrd", "image.pgm", "photo.jpg"])
def test_a_file_that_is_something_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello, this is no image at all\n" * 20)
    assert refused(tmp_path / name, "MR", tmp_path / "out").startswith(name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.png", "CR", tmp_path / "out").startswith("gone.png cannot be read")


def test_a_truncated_png(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", np.arange(10000, dtype=np.uint16).reshape(100, 100))
    path.write_bytes(path.read_bytes()[:200])
    assert refused(path, "CR", tmp_path / "out").startswith("a.png")


def test_a_volume_as_a_radiograph_and_a_photograph_as_ct(tmp_path: Path) -> None:
    assert "flat" in refused(nifti(tmp_path / "t1.nii", distinct_voxels(), axial_affine()), "MG", tmp_path / "out")
    assert "volumes" in refused(picture(tmp_path / "a.png", np.eye(4, dtype=np.uint8)), "CT", tmp_path / "out")


def test_a_modality_that_is_not_wrapped(tmp_path: Path) -> None:
    assert "CT, MR, MG, CR, DX" in refused(
        picture(tmp_path / "a.png", np.eye(4, dtype=np.uint8)), "US", tmp_path / "out"
    )


# --- conformance ---


def test_dciodvfy_finds_no_error_in_ct_mr_and_projections_with_spacing(tmp_path: Path) -> None:
    needs("dciodvfy")
    source = nifti(tmp_path / "t1.nii", distinct_voxels(), axial_affine())
    flat = picture(tmp_path / "a.png", np.eye(9, dtype=np.uint8))
    chest = About(body_part="CHEST", view="PA", patient_orientation=("L", "F"), spacing_mm=(0.2, 0.2))
    written = [
        write_ct(tmp_path / "phantom", distinct_voxels(), axial_affine(), About(body_part="CHEST"))[0],
        wrap([source], "CT", tmp_path / "ct")[0],
        wrap([source], "MR", tmp_path / "mr", About(body_part="BRAIN"), contrast={"t1": "gadobutrol"})[0],
        wrap([flat], "MG", tmp_path / "mg", MAMMOGRAM)[0],
        wrap([flat], "CR", tmp_path / "cr", chest)[0],
        wrap([flat], "DX", tmp_path / "dx", chest)[0],
    ]
    assert {path.parts[-3]: errors_of_dciodvfy(path) for path in written if errors_of_dciodvfy(path)} == {}


# --- real data ---


def test_real_brains_come_back_as_nibabel_reads_them(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "mr" / "open-ms" / "patient19" / "flair.nii.gz"
    image = NIBABEL.load(source)
    volume = read_volume(instances(wrap([source], "MR", tmp_path)))
    values = image.get_fdata()
    step = (values.max() - values.min()) / 65535
    for ijk in ((0, 0, 0), (90, 100, 80), (181, 217, 181)):
        place = (RAS @ image.affine @ (*ijk, 1))[:3]
        found = tuple(np.rint(volume.index_kji(place)).astype(int))
        assert volume.array[found] == pytest.approx(values[ijk], abs=step)


def test_a_real_mammogram_is_wrapped(shared_data: Path, tmp_path: Path) -> None:
    source = min((shared_data / "mg" / "cdd-cesm").rglob("*.jpg"))
    (written,) = wrap([source], "MG", tmp_path, About(laterality="L", view="CC"))
    with Image.open(source) as image:
        np.testing.assert_array_equal(read_image(instances([written])[0]), np.asarray(image.convert("L")))
