"""Clips: every layout is read as it was written, windows are cut as stated, generated people differ, splits keep takes whole."""

import dataclasses
import json
import sys
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from optics_sim.data.clip_splits import split_clips
from optics_sim.data.clips import ClipSet, load_clips
from optics_sim.data.figure import skeleton
from optics_sim.data.moving import ACTIONS, figure_recordings, invent_body
from optics_sim.data.moving_faces import MOTIONS, Motion, face_recordings, move_face
from optics_sim.data.photographs import srgb_to_linear
from optics_sim.data.recordings import Cut, on_the_grid, window_starts
from optics_sim.data.synthetic import synthetic_people
from optics_sim.errors import PrivcamError

LEVEL_TOLERANCE = 3  # codes: lossy video of flat frames


def clip_set(n=4, **changes):
    numbers = np.arange(n, dtype=np.int64)
    clips = np.random.default_rng(0).integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    known = {"name": "x", "kind": "synthetic", "clips": clips, "actions": numbers % 2, "action_names": ("a", "b"), "actors": numbers,
             "actor_names": tuple("pqrstuvwxyz"[:n]), "takes": numbers, "trials": np.ones(n, np.int64), "frame_s": 0.04}
    return ClipSet(**{**known, **changes})


def factorial(actors=5, actions=3, trials=2, windows=2, shared_takes=False):
    """A set with every combination, numbered so that the pixels say which clip it is."""
    actor, action, trial, _ = (axis.ravel() for axis in np.meshgrid(*map(np.arange, (actors, actions, trials, windows)), indexing="ij"))
    takes = actor * trials + trial if shared_takes else (actor * actions + action) * trials + trial
    clips = np.random.default_rng(1).integers(0, 256, (len(actor), 2, 4, 4), dtype=np.uint8)
    return ClipSet("factorial", "synthetic", clips, action, tuple(f"action{i}" for i in range(actions)), actor,
                   tuple(f"actor{i}" for i in range(actors)), takes, trial + 1, 0.08)


# --- the set --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("changes", "word"), [
    ({"clips": np.zeros((4, 3, 8, 8), np.float32)}, "8-bit"),
    ({"clips": np.zeros((4, 8, 8), np.uint8)}, "8-bit"),
    ({"actions": np.zeros(3, np.int64)}, "actions"),
    ({"trials": np.zeros(4, np.int32)}, "trials"),
    ({"actors": np.array([0, 1, 2, 4])}, "actors"),
    ({"takes": np.zeros(4, np.int64)}, "one actor"),
    ({"frame_s": 0.0}, "time"),
    ({"attributes": {"sex": np.zeros(2, np.int64)}}, "sex"),
])
def test_an_impossible_set_is_refused(changes, word):
    with pytest.raises(PrivcamError, match=word):
        clip_set(**changes)


def test_selection_keeps_columns_together():
    part = clip_set(attributes={"sex": np.array([0, 1, -1, 0])}, categories={"sex": ("f", "m")}).select(np.array([2, 0]))
    assert part.actors.tolist() == [2, 0] and part.attributes["sex"].tolist() == [-1, 0] and len(part) == 2
    assert np.array_equal(part.clips, clip_set().clips[[2, 0]])


def test_gray_is_linear_light_letterboxed_by_area():
    clips = np.zeros((1, 3, 4, 8, 3), np.uint8)
    clips[:, 1] = 255
    clips[:, 2, :, ::2] = 255  # stripes of one pixel: half the light at half the size, whatever the display curve
    clips[:, 0] = 188
    one = np.zeros(1, np.int64)
    scenes = ClipSet("x", "real", clips, one, ("a",), one, ("p",), one, one, 0.04).gray((4, 4))
    assert scenes.shape == (1, 3, 4, 4) and scenes.dtype == np.float32
    assert (scenes[:, :, [0, 3]] == 0).all()  # black above and below
    expected = [float(srgb_to_linear(np.array([188], np.uint8))[0]), 1.0, 0.5]
    for frame, value in zip(scenes[0, :, 1:3], expected, strict=True):
        np.testing.assert_allclose(frame, value, atol=1e-6)


def test_gray_gives_the_first_frames_and_no_more_than_there_are():
    clips = clip_set()
    assert np.array_equal(clips.gray((8, 8), 2), clips.gray((8, 8))[:, :2])
    with pytest.raises(PrivcamError, match="not so many frames"):
        clips.gray((8, 8), 4)


# --- cutting --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("length", "frames", "stride", "windows", "starts"), [
    (31, 16, 2, 1, [0]), (31, 16, 2, 4, [0]), (30, 16, 2, 4, []), (51, 16, 2, 3, [0, 10, 20]), (100, 10, 1, 1, [45]),
    (12, 10, 1, 9, [0, 1, 2]),
])
def test_windows_are_evenly_spaced_whole_and_different(length, frames, stride, windows, starts):
    assert window_starts(length, Cut(frames, stride, windows, None)) == starts


def test_a_steady_rate_is_left_alone_and_another_is_shown_by_the_nearest_frame():
    steady = np.arange(9) * 0.04 + np.tile([0, 0.0005, -0.0005], 3)  # a container's rounding
    grid, resampled = on_the_grid(steady, 0.04)
    assert grid.tolist() == list(range(9)) and not resampled
    grid, resampled = on_the_grid(np.arange(9) * 0.02, 0.04)
    assert grid.tolist() == [0, 2, 4, 6, 8] and resampled
    grid, _ = on_the_grid(np.array([0, 0.04, 0.15, 0.20]), 0.04)  # frames are missing: the neighbours stand for them
    assert grid.tolist() == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("wrong", [{"frames": 1}, {"stride": 0}, {"windows": 0}, {"size": (0, 4)}])
def test_an_impossible_cut_is_refused(wrong):
    with pytest.raises(PrivcamError, match="cut like this"):
        load_clips("synthetic:1:2:1:0", **wrong)


# --- layouts --------------------------------------------------------------------------------------
def write_video(path, levels, *, codec="mpeg4", rate=25, times=None, size=(48, 32)):
    """Flat frames of known levels, which lossy compression keeps; `times` in ticks of 1/1000 s makes the rate vary."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 2_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, level in enumerate(levels):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), level, np.uint8), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels_of(clips):
    return clips.clips.reshape(len(clips), clips.frames, -1).mean(axis=2)


def test_a_folder_of_videos(tmp_path):
    for action in ("walk", "wave"):
        for name in ("ann_one.mp4", "ann_two.mp4", "bob_one.mp4"):
            write_video(tmp_path / action / name, np.arange(20) * 10 + 20)
    clips = load_clips(tmp_path, frames=4, stride=3, windows=2)
    assert clips.kind == "real" and clips.action_names == ("walk", "wave") and clips.actor_names == ("ann", "bob")
    assert len(clips) == 12 and len(set(clips.takes)) == 6 and clips.clips.shape[1:] == (4, 32, 48, 3)
    assert clips.frame_s == pytest.approx(3 / 25) and sorted(set(clips.trials)) == [1, 2]
    for window, start in zip(levels_of(clips)[:2], (0, 10), strict=True):
        np.testing.assert_allclose(window, (start + np.arange(4) * 3) * 10 + 20, atol=LEVEL_TOLERANCE)


def test_kth_trials_are_scenarios_and_files_stay_whole(tmp_path):
    for action in ("boxing", "handwaving"):
        for scenario in (1, 2, 4):
            write_video(tmp_path / action / f"person01_{action}_d{scenario}_uncomp.avi", np.arange(12) * 15 + 10, size=(160, 120))
    clips = load_clips(tmp_path, frames=3, stride=1, windows=2)
    assert clips.actor_names == ("person01",) and sorted(set(clips.trials)) == [1, 2, 4]
    assert len(clips) == 12 and len(set(clips.takes)) == 6 and clips.clips.shape[2:] == (120, 160, 3)


def test_kth_files_are_cut_where_their_list_says_someone_is_in_sight(tmp_path):
    levels = np.arange(24) * 10
    for action in ("boxing", "running"):
        write_video(tmp_path / action / f"person01_{action}_d1_uncomp.avi", levels, size=(160, 120))
    heading = "Frames of\n\nperson13_handclapping_d3 *missing*\n"
    (tmp_path / "00sequences.txt").write_text(heading + "person01_running_d1\t\tframes\t3-6, 11-14,\t21-40\n", encoding="utf-8")
    clips = load_clips(tmp_path, frames=4, stride=1, windows=1)
    first = sorted(round(float(levels_of(clips)[place][0]) / 10) for place in np.flatnonzero(np.array(clips.actions) == 1))
    assert first == [2, 10, 20]  # frames 3, 11 and 21, counted from 1; the last ends with the file
    assert len(set(clips.takes)) == 2 and len(clips) == 4 and "4 recordings by 00sequences.txt" in clips.note
    (tmp_path / "00sequences.txt").write_text("person01_running_d1 frames 9-3", encoding="utf-8")
    with pytest.raises(PrivcamError, match="repetition that is none"):
        load_clips(tmp_path, frames=4, stride=1, windows=1)


def test_another_rate_and_a_varying_one_are_resampled_and_counted(tmp_path):
    write_video(tmp_path / "walk" / "ann_1.mkv", np.arange(12) * 15 + 10)
    write_video(tmp_path / "walk" / "ann_2.mkv", np.arange(12) * 15 + 10)
    write_video(tmp_path / "walk" / "bob_1.mkv", np.arange(24) * 8 + 10, rate=50)
    write_video(tmp_path / "walk" / "cyd_1.mkv", np.arange(8) * 25 + 10, times=[0, 40, 80, 280, 320, 360, 400, 440])
    clips = load_clips(tmp_path, frames=4, stride=1, windows=1)
    assert "2 recordings resampled to 25 frames per second" in clips.note
    fast = levels_of(clips)[clips.actors == 1][0]
    np.testing.assert_allclose(np.diff(fast), 16, atol=LEVEL_TOLERANCE)  # every other frame
    uneven = levels_of(clips)[clips.actors == 2][0]  # ticks 160 to 280 ms, of which three were never taken
    np.testing.assert_allclose(uneven, np.array([2, 3, 3, 3]) * 25 + 10, atol=LEVEL_TOLERANCE)


def test_a_broken_a_cut_and_a_short_file_are_named(tmp_path):
    good = write_video(tmp_path / "walk" / "ann_1.avi", np.arange(30) * 8)
    write_video(tmp_path / "walk" / "bob_1.avi", np.arange(5) * 8)
    (tmp_path / "walk" / "cyd_1.mp4").write_bytes(b"this is no video")
    whole = good.read_bytes()
    (tmp_path / "walk" / "dan_1.avi").write_bytes(whole[: (whole.index(b"movi") + whole.index(b"idx1")) // 2])
    with pytest.raises(PrivcamError, match=r"cyd_1\.mp4 cannot be read as a video"):
        load_clips(tmp_path, frames=6, stride=1)
    (tmp_path / "walk" / "cyd_1.mp4").unlink()
    with pytest.raises(PrivcamError, match=r"dan_1\.avi is cut short"):
        load_clips(tmp_path, frames=6, stride=1)
    clips = load_clips(tmp_path, frames=6, stride=1, strict=False)
    assert clips.actor_names == ("ann",) and [line.split(":")[0] for line in clips.skipped] == ["walk/dan_1.avi", "walk/bob_1.avi"]
    (tmp_path / "walk" / "dan_1.avi").unlink()
    with pytest.raises(PrivcamError, match=r"bob_1\.avi is too short.*stride=2"):
        load_clips(tmp_path, frames=3, stride=3)


def test_a_telephone_held_sideways_is_shown_upright(tmp_path):
    path = write_video(tmp_path / "walk" / "ann_1.mp4", [100] * 6)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2: version, times, track, durations, layer; then the matrix
    for place, value in enumerate((0, 1 << 16, 0, -(1 << 16), 0, 0)):
        data[matrix + 4 * place : matrix + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    assert load_clips(tmp_path, frames=3, stride=1, windows=1).clips.shape == (1, 3, 48, 32, 3)


def test_recordings_of_differing_sizes_become_letterboxed_squares(tmp_path):
    write_video(tmp_path / "walk" / "ann_1.mp4", [200] * 6, size=(64, 32))
    write_video(tmp_path / "walk" / "bob_1.mp4", [200] * 6, size=(32, 32))
    clips = load_clips(tmp_path, frames=3, stride=1, windows=1)
    assert clips.clips.shape[2:] == (112, 112, 3) and clips.clips[0, 0, 0].max() == 0 and clips.clips[1, 0, 0].min() > 190
    assert load_clips(tmp_path, frames=3, stride=1, windows=1, size=(20, 30)).clips.shape[2:] == (20, 30, 3)


def test_without_the_decoder_the_error_says_what_to_install(tmp_path, monkeypatch):
    write_video(tmp_path / "walk" / "ann_1.mp4", [1] * 4)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PrivcamError, match=r"privcam\[video\]"):
        load_clips(tmp_path, strict=True)


def write_frames(folder, names, levels):
    folder.mkdir(parents=True)
    for name, level in zip(names, levels, strict=True):
        Image.fromarray(np.full((6, 8, 3), level, np.uint8)).save(folder / name)


def test_sbu_merges_the_two_orders_of_a_pair(tmp_path):
    for place, pair in enumerate(("s01s02", "s02s01", "s03s01")):
        for action in ("02", "08"):
            write_frames(tmp_path / pair / action / "001", [f"rgb_{i:06d}.png" for i in range(1, 5)], np.arange(4) * 10 + 50 * place)
            write_frames(tmp_path / pair / action / "002", [f"depth_{i:06d}.png" for i in range(3)] + ["rgb_000001.png", "rgb_000002.png"],
                         [1, 2, 3, 200, 210])
    clips = load_clips(tmp_path, frames=2, stride=1, windows=1)
    assert clips.actor_names == ("s01s02", "s01s03") and clips.action_names == ("departing", "punching")
    assert clips.identity == "the recorded pair" and clips.frame_s == pytest.approx(1 / 15, rel=1e-6)
    pair = clips.select(np.flatnonzero((clips.actors == 0) & (clips.actions == 0)))
    assert sorted(pair.trials) == [1, 2, 3, 4] and len(set(clips.takes)) == 12
    assert levels_of(pair)[np.argsort(pair.trials)].tolist() == [[10, 20], [200, 210], [60, 70], [200, 210]]
    (tmp_path / "s01s02" / "09" / "001").mkdir(parents=True)
    with pytest.raises(PrivcamError, match="no such action"):
        load_clips(tmp_path, frames=2, stride=1)


def write_ipn(root):
    first, again, other, last = sexes = {"1CM1_1_R_#218": "M", "1CM1_1_R_#99": "M", "1CM1_2_L_#221": "W", "4CM2_3_L_#9": "W"}
    rows = {"Annot_TrainList.txt": [(first, "D0X", 1, 1, 4), (first, "G01", 4, 5, 8), (first, "B0A", 2, 9, 12),
                                    (again, "G01", 4, 1, 6), (other, "G01", 4, 3, 8)],
            "Annot_TestList.txt": [(last, "B0A", 2, 3, 6), ("9CM9_9_R_#99", "B0A", 2, 3, 6)]}
    for name, lines in rows.items():
        (root / name).write_text("".join(",".join(map(str, line)) + f",{line[4] - line[3] + 1}\n" for line in lines))
    for video in sexes:
        write_frames(root / "frames" / video, [f"{video}_{i:06d}.jpg" for i in range(1, 13)], np.arange(1, 13) * 10)
    table = "".join(f"{video},12,{sex},Right\n" for video, sex in sexes.items())
    (root / "metadata.csv").write_text(f"Video Name,Frames,Sex,Hand\n{table}")


def test_ipn_hand_cuts_gestures_and_reads_the_private_attribute(tmp_path):
    write_ipn(tmp_path)
    clips = load_clips(tmp_path, frames=4, stride=1, windows=1)
    assert clips.actor_names == ("1CM1_1", "1CM1_2", "4CM2_3") and clips.action_names == ("B0A", "G01")
    assert clips.categories["sex"] == ("M", "W") and np.array_equal(clips.attributes["sex"], clips.actors > 0)
    assert clips.skipped == ("9CM9_9_R_#99: no frames",)
    first = clips.select(np.flatnonzero(clips.actors == 0))
    assert sorted(first.trials) == [1, 2, 2] and len(set(first.takes)) == 2  # two gestures of one video are one take; #99 before #218
    second = first.select(np.flatnonzero((first.actions == 1) & (first.trials == 2)))
    np.testing.assert_allclose(levels_of(second)[0], [50, 60, 70, 80], atol=1)


def test_ipn_hand_reads_lists_with_a_header(tmp_path):
    write_ipn(tmp_path)
    file = tmp_path / "Annot_TrainList.txt"
    expected = load_clips(tmp_path, frames=4, stride=1, windows=1)
    file.write_text("video,label,id,t_start,t_end,frames\n" + file.read_text())
    assert np.array_equal(load_clips(tmp_path, frames=4, stride=1, windows=1).clips, expected.clips)


def test_ipn_hand_names_missing_frames_and_wrong_rows(tmp_path):
    write_ipn(tmp_path)
    (tmp_path / "frames" / "4CM2_3_L_#9" / "4CM2_3_L_#9_000005.jpg").unlink()
    with pytest.raises(PrivcamError, match="lacks frames of the gesture B0A; got: frame 5"):
        load_clips(tmp_path, frames=4, stride=1)
    (tmp_path / "Annot_TestList.txt").write_text("1CM1,G01,4,1,6,6\n")
    with pytest.raises(PrivcamError, match="a row that is no gesture"):
        load_clips(tmp_path, frames=4, stride=1)
    (tmp_path / "Annot_TestList.txt").unlink()
    (tmp_path / "metadata.csv").write_text("Video Name,Frames\n")
    with pytest.raises(PrivcamError, match="sex"):
        load_clips(tmp_path, frames=4, stride=1)


def write_strips(root, rows, frames=6):
    with zipfile.ZipFile(root / "strips.zip", "w") as archive:
        for place, row in enumerate(rows):
            strip = np.repeat(np.arange(frames, dtype=np.uint8) * 20 + place, 8)[:, None].repeat(8, axis=1)
            with archive.open(row["file"], "w") as file:
                Image.fromarray(strip).save(file, "PNG")
    (root / "clips.json").write_text(json.dumps([{"frames": frames, "size": 8, **row} for row in rows]))


def test_strips_are_cut_into_frames(tmp_path):
    write_strips(tmp_path, [{"file": "a.png", "actor": 0, "action": "bend"}, {"file": "b.png", "actor": 1, "action": "jack"}])
    clips = load_clips(tmp_path, frames=3, stride=2, windows=1)
    assert levels_of(clips).tolist() == [[20, 60, 100], [21, 61, 101]] and clips.actor_names == ("person_0", "person_1")


@pytest.mark.parametrize(("break_it", "word"), [
    (lambda root: (root / "strips.zip").unlink(), "one zip"),
    (lambda root: (root / "clips.json").write_text("[{}]"), "does not describe"),
    (lambda root: (root / "clips.json").write_text("{"), "cannot be read"),
    (lambda root: (root / "clips.json").write_text((root / "clips.json").read_text().replace('"frames": 6', '"frames": 5')), "not a strip"),
    (lambda root: (root / "clips.json").write_text((root / "clips.json").read_text().replace("a.png", "z.png")), "z.png"),
])
def test_broken_strips_are_named(tmp_path, break_it, word):
    write_strips(tmp_path, [{"file": "a.png", "actor": 0, "action": "bend"}])
    break_it(tmp_path)
    with pytest.raises(PrivcamError, match=word):
        load_clips(tmp_path, frames=3, stride=1)


@pytest.mark.parametrize(("source", "word"), [
    ("no_such_set", "no such clips"), ("synthetic:1:2:3", "not a generated source"), ("synthetic:a:2:1:0", "not a generated source"),
    ("synthetic:2:1:1:0", "moving people"), ("semireal:synthetic:3:3:0:2:9:0", "not enough photographs"),
])
def test_an_impossible_source_is_refused(source, word):
    with pytest.raises(PrivcamError, match=word):
        load_clips(source)


def test_a_folder_in_no_known_layout_is_refused(tmp_path):
    with pytest.raises(PrivcamError, match="no recordings of actions"):
        load_clips(tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(("name", "recordings", "actions", "actors", "held"), [
    ("actions_weizmann4", 36, 4, 9, "action"), ("actions_utinteraction", 60, 6, 10, "action"), ("actions_gtmhi", 27, 3, 3, "trial"),
])
def test_real_sets(real_data, name, recordings, actions, actors, held):
    clips = load_clips(real_data / name, windows=2)
    assert len(set(clips.takes)) == recordings and len(clips.action_names) == actions and len(clips.actor_names) == actors
    assert clips.kind == "real" and 0.01 < clips.gray((16, 16), 4).mean() < 0.9
    assert held in split_clips(clips, 0).note


# --- generated people -----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def figures():
    return load_clips("synthetic:6:6:2:0", frames=12, windows=1, size=(48, 48))


def nearest(features, labels, allowed):
    """Accuracy of the nearest other clip among those that `allowed` [n, n] leaves."""
    flat = features.reshape(len(labels), -1).astype(np.float64)
    distance = ((flat[:, None] - flat[None]) ** 2).sum(2)
    distance[~allowed] = np.inf
    return (labels[distance.argmin(1)] == labels).mean()


def chance_limit(chance, n):
    """Four standard deviations of a guesser over n clips."""
    return chance + 4 * np.sqrt(chance * (1 - chance) / n)


def test_figures_are_reproducible_and_more_of_them_change_nothing(figures):
    few = load_clips("synthetic:2:6:1:0", frames=12, windows=1, size=(48, 48))
    same = figures.select(np.flatnonzero((figures.actors < 2) & (figures.trials == 1)))
    assert np.array_equal(few.clips, same.clips)
    assert not np.array_equal(load_clips("synthetic:1:2:1:1", frames=2, windows=1, size=(48, 48)).clips[0, 0], few.clips[0, 0])


def test_figures_are_called_synthetic(figures):
    assert figures.kind == "synthetic" and "no real people" in figures.note and len(ACTIONS) >= 5
    assert np.bincount(figures.actions).tolist() == [12] * 6 and len(set(figures.takes)) == len(figures)


def test_figures_move_and_the_room_does_not(figures):
    change = np.abs(np.diff(figures.gray((48, 48)), axis=1)).max(axis=(1))
    assert (change.max(axis=(1, 2)) > 0.02).all()
    assert (np.median(change, axis=(1, 2)) < 1e-3).all()


def test_motion_tells_the_action_across_people_and_brightness_does_not(figures):
    other_people = figures.actors[:, None] != figures.actors[None]
    light = figures.gray((48, 48))
    energy = np.abs(np.diff(light, axis=1)).mean(axis=1) / light.mean(axis=(1, 2, 3))[:, None, None]
    energy /= energy.sum(axis=(1, 2), keepdims=True)
    rows_and_columns = np.concatenate([energy.sum(axis=1), energy.sum(axis=2)], axis=1)
    limit = chance_limit(1 / 6, len(figures))
    assert nearest(rows_and_columns, figures.actions, other_people) > limit
    assert nearest(light.mean(axis=(1, 2, 3)), figures.actions, other_people) < limit


def test_clothes_tell_the_person_across_actions_and_brightness_does_not(figures):
    light = srgb_to_linear(figures.clips)
    contrast = np.abs(light - np.median(light, axis=1, keepdims=True)).sum(axis=4, keepdims=True)  # high where a limb is
    colour = (light * contrast**2).sum(axis=(1, 2, 3))
    colour /= colour.sum(axis=1, keepdims=True)
    other_actions = figures.actions[:, None] != figures.actions[None]
    limit = chance_limit(1 / 6, len(figures))
    assert nearest(colour, figures.actors, other_actions) > limit
    assert nearest(figures.gray((48, 48)).mean(axis=(1, 2, 3)), figures.actors, other_actions) < limit


def test_bodies_keep_their_limbs_together():
    body = invent_body(np.random.default_rng(0))
    for act in ACTIONS.values():
        poses = [act(phase, 1.0) for phase in np.arange(0, 6.3, 0.3)]
        moved = np.array([[np.linalg.norm(limb.end - limb.start) for limb in skeleton(body, pose, 0.4)] for pose in poses])
        bones = np.ptp(moved, axis=0)[[0, 1, 3, 4, 6, 7, 9, 10]]  # thighs, shins, upper arms, forearms
        assert bones.max() < 1e-9


def test_long_windows_get_long_recordings():
    clips = load_clips("synthetic:1:2:1:0", frames=80, stride=2, windows=1, size=(16, 16))
    assert clips.clips.shape[:4] == (2, 80, 16, 16)


@pytest.fixture(scope="module")
def photographs():
    return dataclasses.replace(synthetic_people(3, 4, seed=2, size=64), kind="real", name="faces_x")


@pytest.mark.parametrize(("images", "each"), [(4, 1), (8, 2), (30, 6)])
def test_every_person_does_every_motion_with_other_photographs_in_other_trials(images, each):
    photographs = dataclasses.replace(synthetic_people(3, images, seed=2, size=16), kind="real", name="faces_x")
    recordings = face_recordings(photographs, 3, 4, seed=0)
    every = {(person, motion, trial) for person in photographs.people for motion in MOTIONS for trial in (1, 2, 3, 4)}
    assert {(recording.actor, recording.action, recording.trial) for recording in recordings} == every
    used = {(r.actor, r.trial, r.take) for r in recordings}
    assert len(used) == len({take for _, _, take in used}) == 12 * each  # as many photographs as there are, none in two trials


def test_moved_photographs_are_called_semi_real_and_drawn_ones_synthetic(photographs, tmp_path):
    np.savez(tmp_path / "faces.npz", images=photographs.images, labels=photographs.labels)
    real = load_clips(f"semireal:{tmp_path / 'faces.npz'}:2:2:0", frames=3, windows=1)
    assert real.kind == "semi-real" and "semi-real" in real.note and len(real) == 2 * 2 * len(MOTIONS)
    assert load_clips("semireal:synthetic:2:3:0:2:2:0", frames=3, windows=1).kind == "synthetic"


@pytest.mark.parametrize("name", MOTIONS)
def test_a_moved_face_is_three_quarters_of_the_frame_high(name):
    side = 64
    for height in (0.78, 0.9):
        motion = Motion(name, 0.0, 2 * np.pi, 1.2, (0.0, 0.0), side * height, np.zeros((side, side)), 0.2)
        for time_s in np.arange(0, 2, 0.1):
            shown = move_face(np.ones((64, 64), np.float32), motion, time_s) > 0.5
            assert shown.any(axis=1).sum() >= 48


def test_motions_differ_by_what_moves(photographs):
    clips = load_clips("semireal:synthetic:4:3:5:4:3:0", frames=16, windows=1)
    light = clips.gray((24, 24))
    features = np.abs(np.diff(light, axis=1)).mean(axis=1)
    features /= np.linalg.norm(features, axis=(1, 2), keepdims=True)
    assert nearest(features, clips.actions, clips.actors[:, None] != clips.actors[None]) > chance_limit(1 / len(MOTIONS), len(clips))


# --- splits ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("clips", [
    factorial(), factorial(trials=1, actions=4), factorial(trials=3, shared_takes=True), factorial(actors=3), factorial(actors=9, trials=4),
], ids=["trials", "actions", "shared takes", "three actors", "nine actors"])
@pytest.mark.parametrize("seed", range(4))
def test_a_split_keeps_actors_and_takes_apart(clips, seed):
    split = split_clips(clips, seed)
    parts = [split.train, split.validation, split.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(clips)))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not set(clips.actors[parts[one]]) & set(clips.actors[parts[other]])
    assert sorted(np.concatenate([split.identity_train, split.identity_test]).tolist()) == list(range(len(clips)))
    assert not set(clips.takes[split.identity_train]) & set(clips.takes[split.identity_test])
    assert set(clips.actors[split.identity_train]) == set(clips.actors[split.identity_test]) == set(range(len(clips.actor_names)))
    assert len(split.encoder_train) and set(split.encoder_train) == set(split.train) - set(split.identity_test)


@pytest.mark.parametrize(("actors", "folds"), [(9, 5), (10, 5), (3, 5), (4, 2)])
def test_folds_test_every_actor_once(actors, folds):
    clips = factorial(actors=actors)
    for start in (0, min(folds, actors)):  # the next round has another order and covers all as well
        seeds = range(start, start + min(folds, actors))
        tested = [actor for seed in seeds for actor in set(clips.actors[split_clips(clips, seed, folds=folds).test])]
        assert sorted(tested) == list(range(actors))


def test_the_note_says_what_was_held_out():
    by_trial, by_action = factorial(trials=3), factorial(trials=1)
    assert "held-out trial" in split_clips(by_trial, 0).note
    split = split_clips(by_action, 0)
    held = {by_action.action_names[action] for action in by_action.actions[split.identity_test]}
    assert split.note == "identity test: held-out action " + ", ".join(held) and len(held) == 1


def test_a_split_is_the_seeds(figures):
    one, again, other = (split_clips(figures, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.train, again.train) and np.array_equal(one.identity_test, again.identity_test)
    assert not np.array_equal(one.test, other.test)


@pytest.mark.parametrize(("clips", "word"), [
    (factorial(actors=2), "too few actors"),
    (factorial(actions=1, trials=1), "nothing to hold out"),
    (factorial(trials=1, shared_takes=True), "nothing to hold out"),
], ids=["two actors", "one action and trial", "takes of several actions"])
def test_an_impossible_split_is_refused(clips, word):
    with pytest.raises(PrivcamError, match=word):
        split_clips(clips, 0)


def test_copies_and_gaps_are_refused():
    clips = factorial()
    copied = clips.clips.copy()
    copied[-1] = copied[0]
    with pytest.raises(PrivcamError, match="same clip"):
        split_clips(dataclasses.replace(clips, clips=copied), 0)
    alone = clips.select(np.flatnonzero((clips.actions != 2) | (clips.actors == 0)))
    seeds_testing_0 = [seed for seed in range(5) if 0 in clips.actors[split_clips(clips, seed).test]]
    with pytest.raises(PrivcamError, match="does what is tested"):
        split_clips(alone, seeds_testing_0[0])


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 0, "folds": 1}, {"seed": 0, "validation": 0.0}])
def test_wrong_numbers_of_a_split_are_refused(wrong):
    with pytest.raises(PrivcamError, match="not a split"):
        split_clips(factorial(), **wrong)


def test_figures_refuse_impossible_numbers():
    with pytest.raises(PrivcamError, match=f"2 to {len(ACTIONS)} actions"):
        figure_recordings(1, 99, 1, 0)
