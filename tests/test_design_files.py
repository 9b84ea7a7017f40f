"""Designs that name files: the files travel with the design, their content is in the digest, their place is not."""

import shutil
import tomllib

import numpy as np
import pytest
import torch

from optics_sim.attacks.evaluate import Row, keep_row
from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.coding import PixelwiseCoding, coding_bits
from optics_sim.data.clips import load_clips
from optics_sim.design import CameraDesign, FilePattern, RandomPattern
from optics_sim.encoders.degrader import Degrader
from optics_sim.encoders.factory import encoder_module
from optics_sim.encoding import DegraderEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_cohort import gather_clips
from optics_sim.learning.clip_pipeline import clip_design, learned_encoder
from optics_sim.learning.pipeline import start_design
from optics_sim.optics.patterns import transmission

CELLS, CELL_M = (16, 16), 30e-6


def drawn(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


def codes():
    return torch.randint(-128, 128, (1, 2, 16, 16), generator=torch.Generator().manual_seed(1)).float()


def with_pattern(folder, seed=0):
    np.save(folder / "mask.npy", drawn(CELLS, seed))
    return {"optics.pattern": FilePattern(path=str(folder / "mask.npy")).model_dump()}


def with_code(folder, seed=0):
    np.save(folder / "bits.npy", drawn((4, *CELLS), seed))
    return {"coding": PixelwiseCoding(slots=4, path=str(folder / "bits.npy")).model_dump()}


def with_degrader(folder, seed=0):
    return {"encoder": Degrader(DegraderEncoder(seed=seed, width=2, blocks=0)).save(folder / "weights.safetensors").model_dump()}


PARTS = {"pattern.npy": with_pattern, "coding.npy": with_code, "encoder.safetensors": with_degrader}


def content(design):
    """What the one file of a design makes of it."""
    if isinstance(design.encoder, DegraderEncoder):
        return encoder_module(design.encoder)(codes()).detach().numpy()
    return transmission(design.optics.pattern, CELLS, CELL_M) if design.coding is None else coding_bits(design.coding, CELLS)


def designed(make, folder, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    return start_design(RandomPattern(), (31, 31), CELLS, bin_px=20).replace(**make(folder, seed), parent=None)


@pytest.fixture(params=PARTS)
def saved(request, tmp_path):
    """A design, the folder it was saved in, its file's name there; the file it came from is gone."""
    design = designed(PARTS[request.param], tmp_path / "made")
    expected, digest = content(design), design.digest
    design.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "made")
    return tmp_path / "saved", request.param, digest, expected


def test_a_folder_that_moved_holds_the_same_design(saved, tmp_path):
    folder, name, digest, expected = saved
    assert {path.name for path in folder.iterdir()} == {"design.toml", name}
    assert str(tmp_path) not in (folder / "design.toml").read_text()
    moved = shutil.move(folder, tmp_path / "elsewhere" / "moved")
    design = CameraDesign.load(moved)
    assert design.digest == digest and np.array_equal(content(design), expected)
    again = CameraDesign.load(design.save(tmp_path / "again"))
    assert again.digest == digest and np.array_equal(content(again), expected)
    design.save(moved)  # onto itself
    assert CameraDesign.load(moved) == design


def test_a_relative_folder_is_found_from_anywhere(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(saved[0].parent)
    design = CameraDesign.load(saved[0].relative_to(tmp_path))
    monkeypatch.chdir("/")
    assert np.array_equal(content(design), saved[3])


def test_an_altered_file_is_refused(saved, tmp_path):
    folder, name, digest, _ = saved
    (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"x")
    design = CameraDesign.load(folder)
    assert design.digest == digest  # what the design says, not what lies there
    for use in (lambda: content(design), lambda: design.save(tmp_path / "copy")):
        with pytest.raises(PrivcamError, match=r"is not the design's; got: .*; allowed: [0-9a-f]{64}"):
            use()


def test_a_missing_file_is_named(saved, tmp_path):
    folder, name, _, _ = saved
    (folder / name).unlink()
    design = CameraDesign.load(folder)
    for use in (lambda: content(design), lambda: design.save(tmp_path / "copy")):
        with pytest.raises(PrivcamError, match=f"cannot be read; got: .*{name}: No such file"):
            use()


@pytest.mark.parametrize("make", PARTS.values(), ids=PARTS)
def test_the_digest_is_of_the_content(make, tmp_path):
    here, there, other = (designed(make, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert here.digest == there.digest != other.digest


def test_a_file_named_by_hand_is_hashed_when_the_design_is_read(tmp_path):
    design = designed(with_pattern, tmp_path)
    text = design.to_toml().replace(f'sha256 = "{design.files[0].digest}"\n', "").replace("pattern.npy", "mask.npy")
    assert "sha256" not in tomllib.loads(text)["optics"]["pattern"]
    (tmp_path / "design.toml").write_text(text)
    read = CameraDesign.load(tmp_path)
    assert read.digest == design.digest and read.files[0].sha256
    np.save(tmp_path / "mask.npy", drawn(CELLS, 1))
    with pytest.raises(PrivcamError, match="not the design's"):
        content(read)
    (tmp_path / "mask.npy").unlink()
    with pytest.raises(PrivcamError, match="cannot be read"):
        CameraDesign.load(tmp_path)


def test_a_kept_row_takes_the_weights_along(tmp_path):
    design = designed(with_degrader, tmp_path / "made")
    row = Row(label="degrader", seed=0, design_digest=design.digest, depends_on="x", cohort="", samples=())
    keep_row(tmp_path / "row", row, design, {}, {})
    shutil.rmtree(tmp_path / "made")
    kept = CameraDesign.load(shutil.move(tmp_path / "row", tmp_path / "moved"))
    assert kept.digest == row.design_digest
    assert PrivacyCamera.from_design(kept).to_design() == kept


def test_a_learned_degrader_resumes_in_a_folder_that_moved(tmp_path):
    experiment = ClipExperiment.from_dict({"frames": 4, "training": {"epochs": 1, "batch": 6}})
    cohort = gather_clips(load_clips("synthetic:3:2:2:0", frames=4, windows=1, size=(24, 24)), experiment, (24, 24))
    start = clip_design((24, 24), DegraderEncoder(width=2, blocks=0), sensor="ov9281")
    design = learned_encoder(start, cohort, experiment, tmp_path / "here")
    keep_row(tmp_path / "here", Row(label="", seed=0, design_digest=design.digest, depends_on="", cohort="", samples=()), design, {}, {})
    shutil.move(tmp_path / "here", tmp_path / "there")
    resumed = learned_encoder(start, cohort, experiment, tmp_path / "there")
    assert resumed.digest == design.digest and resumed.parent == start.digest
    assert [path.name for path in (tmp_path / "there").glob("encoder*")] == ["encoder.safetensors"]
    assert encoder_module(resumed.encoder)(codes()).std() > 0
