"""The ways in which sets of actions lie on a disk, each one function from a folder to recordings and a note.

Layouts: strips (`clips.json` beside a zip of pictures whose frames lie below each other), videos (a folder per
action; KTH is one), SBU (a folder per pair, action and trial) and IPN Hand (frames and an annotation file).

Deliberately not here: data sets themselves; those who accept their terms download them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optics_sim.data.recordings import Frames, Recording, regular_times
from optics_sim.data.sources import IMAGE_SUFFIXES, decode
from optics_sim.data.video_files import VIDEO_SUFFIXES, frame_times, read_frames
from optics_sim.errors import PrivcamError

SBU_ACTIONS = ("approaching", "departing", "kicking", "pushing", "shaking hands", "hugging", "exchanging", "punching")
SBU_FRAME_S = 1 / 15  # from memory, not checked
IPN_FRAME_S = 1 / 30
STRIPS_FRAME_S = 1 / 25  # Weizmann
NO_GESTURE = "D0X"
_PAIR = re.compile(r"s\d\ds\d\d")
_KTH = re.compile(r"(person\d\d_[^_]+_d(\d))(?:_uncomp)?")
_KTH_SEQUENCES = "00sequences.txt"
_IPN = re.compile(r"([^_]+_\d+)_[LR]_#(\d+)")  # subject, number of the video
_LAYOUTS = "clips.json with a zip of strips, ACTION/ACTOR_*.mp4, s01s02/02/001/rgb_*.png, or frames with Annot_*List.txt"


class Layout(NamedTuple):
    """What a folder holds: its recordings, whose identity `actor` is, where it comes from, and what was left out."""

    recordings: list[Recording]
    identity: str
    note: str
    skipped: tuple[str, ...] = ()


def has_layout(root: Path) -> bool:
    """Returns whether a folder lies in one of the layouts of clips."""
    return _reader(root, strict=True) is not None


def read_layout(root: Path, *, strict: bool) -> Layout:
    """Returns the recordings of a folder in whichever layout it has; PrivcamError when it has none of them."""
    read = _reader(root, strict=strict)
    if read is None:
        raise PrivcamError(f"{root.name or root} holds no recordings of actions", got=str(root), allowed=_LAYOUTS,
                           todo="arrange the files in one of these layouts")
    return read()


def _reader(root: Path, *, strict: bool) -> Callable[[], Layout] | None:
    """Returns what reads a folder in the layout it has, or None when it has none of them."""
    if (root / "clips.json").is_file():
        return lambda: strips(root)
    if _annotations(root):
        return lambda: ipn_hand(root)
    if any(_PAIR.fullmatch(child.name) for child in root.iterdir() if child.is_dir()):
        return lambda: sbu(root)
    files = _video_files(root)
    return (lambda: videos(files, strict=strict)) if files else None


# --- strips ---------------------------------------------------------------------------------------
def strips(root: Path) -> Layout:
    """Returns the recordings of clips.json: rows with file, frames, action and actor (or sequence), and maybe trial.

    Each file of the one zip is a picture of `frames` frames below each other. A row with `sequence` is a pair
    of people recorded together. A row with `src_frames` was thinned to evenly spaced frames, so its rate is
    its own; all are given the median one and the note says so.
    """
    rows = _rows(root / "clips.json")
    archives = sorted(root.glob("*.zip"))
    if len(archives) != 1:
        raise PrivcamError(f"{root.name} needs one zip of strips beside clips.json", got=[path.name for path in archives],
                           allowed="one zip", todo="download the set again")
    thinned = [row["src_frames"] / row["frames"] for row in rows if "src_frames" in row]
    frame_s = float(np.median(thinned)) / 30 if thinned else STRIPS_FRAME_S
    recordings = [_strip(archives[0], row, frame_s) for row in rows]
    note = f"{root.name}: {len(rows)} recordings"
    if thinned:
        note += f", each thinned to {rows[0]['frames']} evenly spaced frames; the median interval stands for all, at 30 frames per second"
    return Layout(recordings, "the recorded pair" if "sequence" in rows[0] else "the person", note)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if rows and all({"file", "frames", "action"} <= set(row) and ("actor" in row or "sequence" in row) for row in rows):
            return list(rows)
    except (ValueError, TypeError) as error:
        raise PrivcamError(f"{path} cannot be read", got=error, allowed="a list of objects", todo="download the set again") from None
    raise PrivcamError(f"{path} does not describe recordings", got=str(rows)[:80],
                       allowed="objects with file, frames, action, and actor or sequence", todo="download the set again")


def _strip(archive: Path, row: Mapping[str, Any], frame_s: float) -> Recording:
    pair, count, name = "sequence" in row, int(row["frames"]), str(row["file"])
    actor = f"pair_{row['sequence']:02d}" if pair else str(row.get("actor_guess", f"person_{row['actor']}"))
    action = str(row["action"]) if isinstance(row["action"], str) else f"action_{row['action']}"
    size = row["size"] if isinstance(row["size"], list) else [row["size"]] * 2  # columns, rows

    def read(wanted: Sequence[int]) -> Frames:
        return _cells(archive, name, count, wanted)

    return Recording(name, action, actor, int(row.get("trial", 1)), name, regular_times(count, frame_s), (size[1], size[0]), read)


def _cells(archive: Path, name: str, count: int, wanted: Sequence[int]) -> Frames:
    try:
        with zipfile.ZipFile(archive) as packed, Image.open(io.BytesIO(packed.read(name))) as opened:
            strip = np.asarray(opened)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise PrivcamError(f"{name} of {archive.name} cannot be read", got=error, todo="download the set again") from None
    if strip.shape[0] % count:
        raise PrivcamError(f"{name} is not a strip of {count} frames", got=f"{strip.shape[0]} rows", allowed=f"a multiple of {count}",
                           todo="download the set again")
    frames = strip.reshape(count, strip.shape[0] // count, *strip.shape[1:])
    return [frames[number].copy() for number in wanted]


# --- video files ----------------------------------------------------------------------------------
def videos(files: Sequence[Path], *, strict: bool) -> Layout:
    """Returns the recordings of ACTION/ACTOR_*.mp4: the name up to the first `_` is the actor, each file a trial.

    KTH is such a folder (`boxing/person01_boxing_d1_uncomp.avi`): there the trial is the scenario d1 to d4, so that one
    scenario can be held out over all actions, and a file is one take. Where its `00sequences.txt` lies in the folder, each
    repetition named there is a recording, and the frames between them, often without anyone, are left out.

    Reference: Schuldt, Laptev and Caputo, ICPR 2004.
    """
    recordings, skipped, seen = [], [], dict[tuple[str, str], int]()
    repetitions = _repetitions(files[0].parents[1] / _KTH_SEQUENCES)
    for path in files:
        kth, actor = _KTH.fullmatch(path.stem), path.stem.split("_")[0]
        seen[path.parent.name, actor] = seen.get((path.parent.name, actor), 0) + 1
        trial = int(kth[2]) if kth else seen[path.parent.name, actor]
        try:
            whole = _video(path, actor, trial)
            recordings += _repeated(whole, repetitions.get(kth[1], ())) if kth else [whole]
        except PrivcamError as error:
            if strict:
                raise
            skipped.append(f"{path.parent.name}/{path.name}: {error.what}")
    note = f"{len(files) - len(skipped)} video files"
    if repetitions:
        note += f", cut into {len(recordings)} recordings by {_KTH_SEQUENCES}"
    return Layout(recordings, "the person", note, tuple(skipped))


def _repetitions(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Returns the first and last frame, from 1, of each repetition by file: `person01_boxing_d1 frames 1-95, 96-185`; none without it.

    Lines that name no file of KTH are its heading.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        name, *rest = line.split(None, 1)[:2] or [""]
        if _KTH.fullmatch(name) and rest:
            ranges = [(int(first), int(last)) for first, last in re.findall(r"(\d+)\s*-\s*(\d+)", rest[0])]
            if any(not 0 < first < last for first, last in ranges):
                raise PrivcamError(f"{path.name} has a repetition that is none", got=line.strip(), allowed="FIRST-LAST, FIRST from 1",
                                   todo="mend the line, or download the file again")
            found[name] = ranges
    return found


def _repeated(whole: Recording, ranges: Sequence[tuple[int, int]]) -> list[Recording]:
    """Returns a recording's repetitions; itself where none are named. What goes on after the file's end ends with the file."""
    def part(first: int, last: int) -> Recording:
        return replace(whole, name=f"{whole.name}:{first}", times_s=whole.times_s[first - 1 : last],
                       read=lambda wanted: whole.read([first - 1 + number for number in wanted]))
    return [part(first, last) for first, last in ranges if first < len(whole.times_s)] or [whole]


def _video_files(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*/*") if path.suffix.lower() in VIDEO_SUFFIXES)


def _video(path: Path, actor: str, trial: int) -> Recording:
    times, shape = frame_times(path)
    name = f"{path.parent.name}/{path.name}"
    return Recording(name, path.parent.name, actor, trial, name, times, shape, lambda wanted: read_frames(path, wanted))


# --- folders of frames ----------------------------------------------------------------------------
def sbu(root: Path) -> Layout:
    """Returns the recordings of s01s02/02/001/rgb_000001.png: pair, action 01 to 08, trial; depth maps are not read.

    s01s02 and s02s01 are the same two people with the active one exchanged: one pair, whose trials are counted on.

    Which number is which action was checked on the set's skeletons; some public code has another order.

    Reference: Yun et al. 2012, "Two-person interaction detection using body-pose features and multiple instance learning".
    """
    recordings, counted = [], dict[tuple[str, str], int]()
    for folder in sorted(path for path in root.glob("s??s??/*/*") if path.is_dir() and _PAIR.fullmatch(path.parts[-3])):
        first, second = sorted((folder.parts[-3][:3], folder.parts[-3][3:]))
        number, pair = folder.parts[-2], first + second
        if not number.isdigit() or not 1 <= int(number) <= len(SBU_ACTIONS):
            raise PrivcamError("SBU has no such action", got="/".join(folder.parts[-3:]), allowed="folders 01 to 08",
                               todo="mend the folder's name")
        counted[pair, number] = counted.get((pair, number), 0) + 1
        name = "/".join(folder.parts[-3:])
        frames = _numbered(folder, "rgb_*")
        trial = counted[pair, number]
        recordings.append(_stills(name, SBU_ACTIONS[int(number) - 1], pair, trial, name, list(frames.values()), SBU_FRAME_S))
    return Layout(recordings, "the recorded pair", f"SBU layout: {len(recordings)} recordings, 15 frames per second")


def ipn_hand(root: Path) -> Layout:
    """Returns the gestures of IPN Hand: rows `video,label,id,first,last,frames` of Annot_*List.txt over folders of frames.

    The video 1CM42_21_R_#156 shows subject 1CM42_21 (right hand); a subject's four videos are its trials by number, and
    each is one take, however many gestures were cut from it. D0X, no gesture, is left out. `metadata.csv` gives the
    attribute sex, the private one of BDQ.

    Reference: Benitez-Garcia et al. 2020 (IPN Hand); Kumawat and Nagahara 2022 (BDQ).
    """
    annotations, folders = _annotations(root), _video_folders(root)
    rows = [row for path in annotations for row in _gestures(path)]
    used = {row[0] for row in rows}
    frames = {name: _numbered(folder, "*") for name, folder in folders.items() if name in used}
    sexes, trials = _sexes(annotations[0].parent), _trials(used)
    recordings = [_gesture(row, trials[row[0]], frames[row[0]], sexes) for row in rows if row[0] in folders]
    if not recordings:
        raise PrivcamError(f"no gesture of {root.name} has its frames", got=f"{len(rows)} gestures, {len(folders)} folders of frames",
                           allowed="frames/VIDEO/VIDEO_000001.jpg", todo="unpack the frames of IPN Hand beside its annotations")
    return Layout(recordings, "the person", f"IPN Hand layout: {len(recordings)} gestures of {len(frames)} videos, {NO_GESTURE} left out",
                  tuple(f"{name}: no frames" for name in sorted(used - set(folders))))


def _annotations(root: Path) -> list[Path]:
    found = [*root.glob("Annot_*List.txt"), *root.glob("*/Annot_*List.txt")]
    return sorted(path for path in found if path.name != "Annot_List.txt")  # the two others together


def _gestures(path: Path) -> list[list[str]]:
    rows = [row for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))) if row and row[:3] != ["video", "label", "id"]]
    wrong = [row for row in rows if len(row) < 5 or not row[3].isdigit() or not row[4].isdigit() or not _IPN.fullmatch(row[0])]
    if wrong:
        raise PrivcamError(f"{path.name} has a row that is no gesture", got=wrong[0], allowed="video,label,id,first,last,frames",
                           todo="mend the row, or download the annotations again")
    return [row for row in rows if row[1] != NO_GESTURE]


def _video_folders(root: Path) -> dict[str, Path]:
    """Returns the folders of frames by the video's name, which has a `#`; what is in them is not looked at."""
    found: dict[str, Path] = {}
    for child in sorted(path for path in root.iterdir() if path.is_dir()):
        found |= {child.name: child} if "#" in child.name else _video_folders(child)
    return found


def _sexes(folder: Path) -> dict[str, str]:
    """Returns the sex of each video's subject as metadata.csv writes it; its first column names the video."""
    table = folder / "metadata.csv"
    if not table.is_file():
        return {}
    header, *rows = csv.reader(io.StringIO(table.read_text(encoding="utf-8-sig")))
    columns = [place for place, name in enumerate(header) if name.strip().lower() in ("sex", "gender")]
    if not columns:
        raise PrivcamError(f"{table.name} has no column of the subjects' sex", got=header, allowed="Sex or Gender", todo="name the column")
    return {row[0].removesuffix(".avi"): row[columns[0]].strip() for row in rows if len(row) > columns[0]}


def _subject_and_number(video: str) -> tuple[str, int]:
    subject, number = cast(re.Match[str], _IPN.fullmatch(video)).groups()
    return subject, int(number)


def _trials(videos: Iterable[str]) -> dict[str, int]:
    """Returns the place of each video, from 1, among those of its subject by number."""
    trials, counted = dict[str, int](), dict[str, int]()
    for video in sorted(videos, key=_subject_and_number):
        subject, _ = _subject_and_number(video)
        trials[video] = counted[subject] = counted.get(subject, 0) + 1
    return trials


def _gesture(row: Sequence[str], trial: int, frames: Mapping[int, Path], sexes: Mapping[str, str]) -> Recording:
    video, label, first, last = row[0], row[1], int(row[3]), int(row[4])
    lacking = [number for number in range(first, last + 1) if number not in frames]
    if lacking:
        raise PrivcamError(f"{video} lacks frames of the gesture {label}", got=f"frame {lacking[0]} of {first} to {last}",
                           allowed=f"{len(frames)} frames present", todo="unpack the frames again")
    subject, _ = _subject_and_number(video)
    known = {"sex": sexes[video]} if video in sexes else {}
    return _stills(f"{video}:{first}", label, subject, trial, video, [frames[number] for number in range(first, last + 1)],
                   IPN_FRAME_S, known)


def _numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Returns the pictures of a folder by the number their names end in, ascending."""
    found = {int(digits[0]): path for path in folder.glob(pattern)
             if path.suffix.lower() in IMAGE_SUFFIXES and (digits := re.findall(r"\d+$", path.stem))}
    return dict(sorted(found.items()))


def _stills(name: str, action: str, actor: str, trial: int, take: str, files: Sequence[Path], frame_s: float,
            attributes: Mapping[str, str] | None = None) -> Recording:
    if not files:
        raise PrivcamError(f"{name} holds no frames", got=name, allowed="numbered pictures", todo="unpack the set again")
    with Image.open(files[0]) as header:
        shape = header.size[::-1]
    return Recording(name, action, actor, trial, take, regular_times(len(files), frame_s), shape,
                     lambda wanted: [_picture(files[number]) for number in wanted], attributes or {})


def _picture(path: Path) -> NDArray[np.uint8]:
    try:
        return np.asarray(decode(path.read_bytes()))
    except (OSError, ValueError, SyntaxError) as error:
        raise PrivcamError(f"{path} cannot be read as a picture", got=error, todo="replace the file, or unpack the set again") from None
