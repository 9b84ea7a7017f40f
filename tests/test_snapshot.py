"""The learned decoder of coded images: what it learns from, that it resumes, that it agrees, and the verb that makes one."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hil.cli import main
from optics_sim.attacks.snapshot import measured
from optics_sim.attacks.snapshot_clips import training_clip
from optics_sim.attacks.snapshot_decoder import SnapshotDecoder, decode_snapshots, load_decoder, save_decoder
from optics_sim.attacks.snapshot_training import LESSON_STEPS, SnapshotPlan, SnapshotTraining, train_snapshot_decoder
from optics_sim.coding import PixelwiseCoding, coding_bits
from optics_sim.data.gray_videos import load_gray_videos
from optics_sim.data.snapshot_benchmark import load_snapshot_benchmark
from optics_sim.errors import PrivcamError
from optics_sim.learning import checkpoint

PLAN = SnapshotPlan(steps=4, batch=2, crop=16, width=4, seed=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def videos() -> list[torch.Tensor]:
    coarse = torch.rand(2, 1, 6, 8, 8, generator=generator(9))
    return list(torch.nn.functional.interpolate(coarse, (20, 24, 28), mode="trilinear")[:, 0])


def code(slots: int = 4, side: int = 24) -> torch.Tensor:
    return torch.from_numpy(coding_bits(PixelwiseCoding(slots=slots), (side, side)))


def frames_of(video: torch.Tensor) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in (255 * video).byte().numpy()]


def save_zip(path: Path, films: dict[str, list[Image.Image]]) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name, frames in films.items():
            for number, frame in enumerate(frames):
                stream = io.BytesIO()
                frame.save(stream, "PNG")
                packed.writestr(f"{name}/{number:03d}.png", stream.getvalue())


def save_benchmark(path: Path) -> None:
    film = (255 * videos()[0][:8, :24, :24]).byte().numpy()
    np.savez_compressed(path, mask=code().numpy().astype(np.uint8), one=film, two=film[:4, ::-1])


# --- what lies on the disk ------------------------------------------------------------------------
def test_videos_are_read_from_a_zip_a_folder_and_files(tmp_path, monkeypatch):
    films = {"room/first": frames_of(videos()[0]), "room/second": frames_of(videos()[1])[:5]}
    (tmp_path / "set" / "deep").mkdir(parents=True)
    save_zip(tmp_path / "set" / "all.zip", films)
    (tmp_path / "set" / "deep").rmdir()
    monkeypatch.setenv("PRIVCAM_DATA", str(tmp_path))
    packed = load_gray_videos("set", frames=7, side_px=14)
    assert [video.shape for video in packed.values()] == [(7, 12, 14), (5, 12, 14)]
    with zipfile.ZipFile(tmp_path / "set" / "all.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = load_gray_videos(tmp_path / "unpacked" / "room")
    assert list(unpacked) == ["first", "second"] and unpacked["first"].dtype == np.float32
    np.testing.assert_array_equal(unpacked["first"], (255 * videos()[0]).byte().numpy() / np.float32(255))


def test_a_video_file_is_read_in_gray(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 28, 24, "gray"
        for frame in frames_of(videos()[0]):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="gray")))
        container.mux(stream.encode())
    found = load_gray_videos(tmp_path)["film"]
    assert found.shape == (20, 24, 28)
    np.testing.assert_allclose(found, videos()[0].numpy(), atol=2 / 255)


@pytest.mark.parametrize("make, text", [
    (lambda path: None, "no such data"), (lambda path: path.mkdir(), "holds no videos"),
    (lambda path: path.write_bytes(b"no zip"), "is no source"),
    (lambda path: save_zip(path, {"film": [Image.new("L", (8, 8)), Image.new("L", (8, 9))]}), "differ in size"),
    (lambda path: zipfile.ZipFile(path, "w").writestr("film/000.png", b"broken"), "cannot be read"),
])
def test_what_is_no_video_is_refused(make, text, tmp_path):
    make(tmp_path / "source")
    with pytest.raises(PrivcamError, match=text):
        load_gray_videos(tmp_path / "source")


def test_benchmark_is_cut_into_clips_and_anything_else_is_refused(tmp_path):
    save_benchmark(tmp_path / "bench.npz")
    found = load_snapshot_benchmark(tmp_path)
    assert found.bits.shape == (4, 24, 24) and {name: clip.shape[0] for name, clip in found.clips.items()} == {"one": 2, "two": 1}
    for arrays in ({"one": np.zeros((4, 8, 8), np.uint8)}, {"mask": np.full((4, 8, 8), 2), "one": np.zeros((4, 8, 8), np.uint8)},
                   {"mask": np.ones((4, 8, 8)), "one": np.zeros((5, 8, 8), np.uint8)}, {"mask": np.ones((4, 8, 8))}):
        np.savez(tmp_path / "bench.npz", **arrays)
        with pytest.raises(PrivcamError, match="make no benchmark"):
            load_snapshot_benchmark(tmp_path / "bench.npz")
    (tmp_path / "bench.npz").write_bytes(b"broken")
    with pytest.raises(PrivcamError, match="is no benchmark"):
        load_snapshot_benchmark(tmp_path / "bench.npz")


# --- training -------------------------------------------------------------------------------------
def test_training_resumes_where_it_stopped_also_within_another_lesson(tmp_path, monkeypatch):
    monkeypatch.setattr("optics_sim.attacks.snapshot_training.LESSON_STEPS", 3)
    losses: list[float] = []
    whole = train_snapshot_decoder(SnapshotTraining(videos(), code(), PLAN), on_step=lambda step, loss: losses.append(loss))
    stopped = SnapshotTraining(videos(), code(), PLAN)
    stopped.advance(), stopped.advance()
    checkpoint.save(tmp_path / "state.safetensors", stopped.state())
    resumed = train_snapshot_decoder(SnapshotTraining(videos(), code(), PLAN), checkpoint=tmp_path / "state.safetensors")
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert len(losses) == PLAN.steps < LESSON_STEPS
    with pytest.raises(PrivcamError, match="too small"):
        SnapshotTraining(videos(), code(), PLAN.model_copy(update={"crop": 32}))


def test_untrained_decoder_is_its_start_brought_into_agreement():
    decoder = SnapshotTraining(videos(), code(), PLAN).decoder
    truth = torch.rand(1, 4, 24, 24, generator=generator())
    image = measured(truth, code())
    torch.testing.assert_close(decoder(image, code(), truth), truth)
    torch.testing.assert_close(measured(decoder(image, code(), torch.zeros_like(truth)), code()), image)


def test_decoder_takes_any_number_of_slots_and_comes_back_from_its_file(tmp_path):
    decoder = SnapshotDecoder(width=4, stages=2)
    save_decoder(decoder, tmp_path / "decoder.safetensors")
    again = load_decoder(tmp_path / "decoder.safetensors")
    for slots in (3, 6):
        image = measured(torch.rand(2, slots, 24, 24, generator=generator()), code(slots))
        assert torch.equal(decode_snapshots(again, image, code(slots)), decode_snapshots(decoder, image, code(slots)))
    with pytest.raises(PrivcamError, match="halves an image twice"):
        decode_snapshots(again, image[:, :22], code(6)[:, :22])
    (tmp_path / "decoder.safetensors").write_bytes(b"broken")
    with pytest.raises(PrivcamError, match="no decoder"):
        load_decoder(tmp_path / "decoder.safetensors")


def test_training_makes_up_for_a_poor_start_on_clips_it_has_not_seen(monkeypatch):
    monkeypatch.setattr("optics_sim.attacks.snapshot_decoder.START_ITERATIONS", 1)
    plan = SnapshotPlan(steps=60, batch=4, crop=24, width=8, learning_rate=3e-3)
    training = SnapshotTraining(videos(), code(), plan)
    truth = torch.stack([training_clip(videos(), 4, 24, generator(100 + seed)) for seed in range(6)])
    image = measured(truth, code())
    before = (decode_snapshots(training.decoder, image, code()) - truth).abs().mean()
    after = (decode_snapshots(train_snapshot_decoder(training), image, code()) - truth).abs().mean()
    assert after < 0.7 * before


def test_training_clips_move_and_repeat_with_their_generator():
    clips = [training_clip(videos(), 4, 16, generator(seed)) for seed in range(24)]
    assert all(clip.shape == (4, 16, 16) and float(clip.min()) >= 0 and float(clip.max()) <= 1 for clip in clips)
    assert torch.equal(clips[3], training_clip(videos(), 4, 16, generator(3)))
    assert sum(float(clip.diff(dim=0).abs().max()) > 0.01 for clip in clips) > 18


# --- the verb -------------------------------------------------------------------------------------
@pytest.fixture
def words(tmp_path):
    save_zip(tmp_path / "films.zip", {name: frames_of(video) for name, video in zip("ab", videos(), strict=True)})
    save_benchmark(tmp_path / "bench.npz")
    return ["snapshot", "--videos", str(tmp_path / "films.zip"), "--benchmark", str(tmp_path / "bench.npz"), "--out",
            str(tmp_path / "run"), *(f"--set={field}" for field in ("steps=3", "batch=2", "crop=16", "width=4"))]


def test_the_verb_trains_judges_and_resumes(words, tmp_path, monkeypatch, capsys):
    def interrupted(self: SnapshotTraining) -> float:
        if self.step == 2:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr("optics_sim.attacks.snapshot_training.LESSON_STEPS", 1)
    advance = SnapshotTraining.advance
    with monkeypatch.context() as context:
        context.setattr(SnapshotTraining, "advance", interrupted)
        assert main(words) == 130
    assert main(words) == 0
    assert "step 3 of 3" in capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    found = {measure["name"]: measure["value"] for measure in report["measures"]}
    assert found["mean/decoder above gap_tv/psnr"] == pytest.approx(found["mean/decoder/psnr"] - found["mean/gap_tv/psnr"])
    assert set(report["controls"]) == {"one", "two"} and report["setting"]["videos"] == "films.zip"
    assert load_decoder(tmp_path / "run" / "decoder.safetensors").width == 4
    assert "Learned decoder" in (tmp_path / "run" / "table.md").read_text() and (tmp_path / "run" / "snapshot.html").stat().st_size > 1000


@pytest.mark.parametrize("more, text", [
    (["--device", "nowhere"], "cannot compute there"), (["--set", "steps=0"], "`steps` is not valid"),
    (["--set", "crop=64"], "too small to train on"), (["--videos", "nothing"], "no such data"),
    (["--benchmark", "nothing"], "no such data"),
])
def test_the_verb_says_what_is_wrong(more, text, words, capsys):
    assert main([*words, *more]) == 2
    assert text in capsys.readouterr().err
