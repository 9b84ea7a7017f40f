"""A set of clips of people who do something, and the one loader that makes it from whatever lies on the disk.

Deliberately not here: layouts (`clip_layouts`), cutting (`recordings`), generators (`moving`, `moving_faces`),
splits (`clip_splits`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.clip_layouts import Layout, has_layout, read_layout
from optics_sim.data.faces import FaceSet, data_root, load
from optics_sim.data.moving import RECORDING_FRAMES, figure_recordings
from optics_sim.data.moving_faces import face_recordings
from optics_sim.data.photographs import Fit, gray_light
from optics_sim.data.recordings import Cut, Frames, Recording, check_cut, common_size, cut_recording, nominal_frame_s
from optics_sim.data.synthetic import synthetic_people
from optics_sim.errors import PrivcamError

Kind = Literal["real", "semi-real", "synthetic"]
_COLUMNS = ("actions", "actors", "takes", "trials")


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Clips of people: display-encoded uint8 [n, T, H, W] or [n, T, H, W, 3], each a window of a recording.

    `actions` and `actors` int64 [n] index `action_names` and `actor_names`; `identity` says whom an actor
    stands for. `takes` numbers what was recorded in one go (windows of one take never get split), `trials` the
    actor's repetitions. `frame_s` is the time from frame to frame. `note` says where the clips come from;
    `skipped` lists recordings that were left out; `attributes` holds int64 [n] per attribute (-1 missing), an
    index into `categories` of the same name.
    """

    name: str
    kind: Kind
    clips: NDArray[np.uint8]
    actions: NDArray[np.int64]
    action_names: tuple[str, ...]
    actors: NDArray[np.int64]
    actor_names: tuple[str, ...]
    takes: NDArray[np.int64]
    trials: NDArray[np.int64]
    frame_s: float
    identity: str = "the person"
    note: str = ""
    skipped: tuple[str, ...] = ()
    attributes: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shaped = self.clips.ndim == 4 or (self.clips.ndim == 5 and self.clips.shape[4] == 3)
        if self.clips.dtype != np.uint8 or not shaped:
            raise PrivcamError("clips must be 8-bit", got=f"{self.clips.dtype} {self.clips.shape}",
                               allowed="uint8 [n, T, H, W] or [n, T, H, W, 3]", todo="convert them")
        if not self.frame_s > 0:
            raise PrivcamError("frames need a time between them", got=self.frame_s, allowed="above 0 seconds", todo="give frame_s")
        self._check_columns()
        self._check_takes()

    def _check_columns(self) -> None:
        columns = {**{name: getattr(self, name) for name in _COLUMNS}, **self.attributes}
        wrong = [name for name, column in columns.items() if column.shape != self.clips.shape[:1] or column.dtype != np.int64]
        if wrong:
            raise PrivcamError("a clip set needs one number per clip in each column", got=wrong, allowed=f"int64 [{len(self)}]",
                               todo="number the clips")
        for name, numbers, names in (("actions", self.actions, self.action_names), ("actors", self.actors, self.actor_names)):
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(names):
                raise PrivcamError(f"the {name} do not index their names", got=f"{numbers.min()}..{numbers.max()}, {len(names)} names",
                                   todo="number them from 0")

    def _check_takes(self) -> None:
        owners = np.unique(np.stack([self.takes, self.actors, self.trials]), axis=1)
        shared = [int(take) for take, count in zip(*np.unique(owners[0], return_counts=True), strict=True) if count > 1]
        if shared:
            raise PrivcamError("a take belongs to one actor and one trial", got=f"takes {shared[:5]} have several",
                               todo="number takes over all actors")

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def frames(self) -> int:
        """Frames of each clip."""
        return self.clips.shape[1]

    def select(self, indices: NDArray[np.int64]) -> ClipSet:
        """Returns the set of some clips, in the order given; names and numbers stay."""
        columns = {name: getattr(self, name)[indices] for name in _COLUMNS}
        chosen = {name: column[indices] for name, column in self.attributes.items()}
        return replace(self, clips=self.clips[indices], attributes=chosen, **columns)

    def gray(self, shape: tuple[int, int] = (64, 64), frames: int | None = None, fit: Fit = "pad") -> NDArray[np.float32]:
        """Returns scenes [n, T, *shape]: linear radiance 0..1 relative to white, of the first `frames` frames or all.

        Un-gamma by `srgb_to_linear`, luminance by BT.709, then the exact area average, in linear light. `pad`
        keeps all that moves and leaves black around it; `crop` takes the largest centred window; `stretch`
        gives up the aspect ratio. PrivcamError for more frames than there are.
        """
        count = self.frames if frames is None else frames
        if not 1 <= count <= self.frames:
            raise PrivcamError(f"the clips of {self.name} have not so many frames", got=count, allowed=f"1 to {self.frames}",
                               todo="load longer clips: load_clips(source, frames=...)")
        chosen = self.clips[:, :count]
        flat = gray_light(chosen.reshape(-1, *chosen.shape[2:]), shape, fit)
        return flat.reshape(len(self), count, *shape)


def load_clips(source: str | Path, *, frames: int = 16, stride: int = 2, windows: int = 4,
               size: tuple[int, int] | None = None, strict: bool = True) -> ClipSet:
    """Returns the clips of a source, cut into `windows` windows of `frames` frames, every `stride`-th, per recording.

    A source is a folder in a known layout (see `docs/data-clips.md`), the name of one below PRIVCAM_DATA,
    `synthetic:ACTORS:ACTIONS:TAKES:SEED` (drawn figures) or `semireal:FACES:PEOPLE:TAKES:SEED` (moved photographs;
    FACES as for `faces.load`, or `synthetic:PEOPLE:IMAGES:SEED`). Windows are evenly spaced. Recordings of another
    or a varying rate are resampled to the commonest one by the nearest frame, which the note counts. `size`
    letterboxes every frame; without it frames of one size are kept up to 160 pixels. `strict=False` leaves
    unreadable and short recordings out and lists them in `skipped`.
    PrivcamError which says what is wrong, where, and what to do.
    """
    cut = Cut(frames, stride, windows, size)
    check_cut(cut)
    kind, name, layout = _recorded(str(source), cut, strict)
    if not layout.recordings:
        raise PrivcamError(f"{name} holds no readable recordings", got=list(layout.skipped[:3]), todo="check the files")
    return _clip_set(kind, name, layout, cut, strict)


def _recorded(source: str, cut: Cut, strict: bool) -> tuple[Kind, str, Layout]:
    if source.startswith("synthetic:"):
        actors, actions, takes, seed = _numbers(source, source.split(":")[1:], "synthetic:ACTORS:ACTIONS:TAKES:SEED")
        recordings = figure_recordings(actors, actions, takes, seed, cut.size, max(RECORDING_FRAMES, cut.span))
        return "synthetic", source, Layout(recordings, "the person", "synthetic: drawn figures, no real people")
    if source.startswith("semireal:"):
        form = "semireal:FACES:PEOPLE:TAKES:SEED"
        parts = source.removeprefix("semireal:").rsplit(":", 3)
        people, takes, seed = _numbers(source, parts[1:], form, 3)
        return _moved_faces(_faces(parts[0]), people, takes, seed, cut, source)
    path = _resolve(Path(source))
    return "real", path.name, read_layout(path, strict=strict)


def _moved_faces(faces: FaceSet, people: int, takes: int, seed: int, cut: Cut, name: str) -> tuple[Kind, str, Layout]:
    real = faces.kind == "real"
    origin = f"semi-real: photographs of {faces.name}" if real else "synthetic: drawn faces"
    recordings = face_recordings(faces, people, takes, seed, cut.size, max(RECORDING_FRAMES, cut.span))
    note = f"{origin} moved by parametric motions, nobody was filmed"
    return "semi-real" if real else "synthetic", name, Layout(recordings, "the person", note)


def _faces(source: str) -> FaceSet:
    if not source.startswith("synthetic:"):
        return load(source, drop_small=True)
    people, images, seed = _numbers(source, source.split(":")[1:], "synthetic:PEOPLE:IMAGES:SEED", 3)
    return synthetic_people(people, images, seed)


def _numbers(source: str, parts: Sequence[str], form: str, count: int = 4) -> list[int]:
    if len(parts) != count or not all(part.isdigit() for part in parts):
        raise PrivcamError("not a generated source", got=source, allowed=form, todo="give whole numbers")
    return [int(part) for part in parts]


def _resolve(path: Path) -> Path:
    root = data_root()
    if not path.exists() and root is not None and (root / path).exists():
        path = root / path
    if not path.is_dir():
        raise PrivcamError("no such clips", got=str(path), allowed="a folder, synthetic:... or semireal:...",
                           todo="check the path" + ("" if root else "; PRIVCAM_DATA names no folder of data sets"))
    return path


def _clip_set(kind: Kind, name: str, layout: Layout, cut: Cut, strict: bool) -> ClipSet:
    frame_s = nominal_frame_s(layout.recordings)
    size = cut.size or common_size(layout.recordings)
    windows: list[Frames] = []
    owners: list[Recording] = []
    skipped, resampled = list(layout.skipped), 0
    for recording in layout.recordings:
        try:
            pieces, was_resampled = cut_recording(recording, cut, frame_s, size)
            if not pieces:
                raise _too_short(recording, cut)
        except PrivcamError as error:
            if strict:
                raise
            skipped.append(f"{recording.name}: {error.what}")
            continue
        windows += pieces
        owners += [recording] * len(pieces)
        resampled += was_resampled
    note = layout.note + (f"; {resampled} recordings resampled to {1 / frame_s:.3g} frames per second" if resampled else "")
    return _assembled(kind, name, layout, windows, owners, frame_s * cut.stride, note, skipped)


def _too_short(recording: Recording, cut: Cut) -> PrivcamError:
    length = len(recording.times_s)
    fits = (length - 1) // (cut.frames - 1)
    todo = f"ask for stride={fits}" if fits else f"ask for frames={length} or fewer"
    return PrivcamError(f"{recording.name} is too short", got=f"{length} frames", allowed=f"{cut.span} or more for {cut.frames} frames "
                        f"at stride {cut.stride}", todo=f"{todo}, or leave short recordings out (strict=False)")


def _assembled(kind: Kind, name: str, layout: Layout, windows: list[Frames], owners: list[Recording], frame_s: float,
               note: str, skipped: Sequence[str]) -> ClipSet:
    if not windows:
        raise PrivcamError(f"no recording of {name} gives a clip", got=list(skipped[:3]), todo="ask for fewer frames or a smaller stride")
    in_colour = any(frame.ndim == 3 for window in windows for frame in window)
    clips = np.stack([np.stack([_coloured(frame, in_colour) for frame in window]) for window in windows])
    actions, action_names = _numbered([owner.action for owner in owners])
    actors, actor_names = _numbered([owner.actor for owner in owners])
    attributes, categories = _attributes(owners)
    return ClipSet(name, kind, clips, actions, action_names, actors, actor_names, _numbered([owner.take for owner in owners])[0],
                   np.array([owner.trial for owner in owners], dtype=np.int64), frame_s, layout.identity, note, tuple(skipped),
                   attributes, categories)


def _numbered(words: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    names, numbers = np.unique(np.array(words), return_inverse=True)
    return numbers.astype(np.int64), tuple(str(name) for name in names)


def _attributes(owners: Sequence[Recording]) -> tuple[dict[str, NDArray[np.int64]], dict[str, tuple[str, ...]]]:
    names = sorted({name for owner in owners for name in owner.attributes})
    categories = {name: tuple(sorted({owner.attributes[name] for owner in owners if name in owner.attributes})) for name in names}
    return {name: np.array([categories[name].index(owner.attributes[name]) if name in owner.attributes else -1 for owner in owners],
                           dtype=np.int64) for name in names}, categories


def _coloured(frame: NDArray[np.uint8], in_colour: bool) -> NDArray[np.uint8]:
    return np.repeat(frame[..., None], 3, axis=2) if in_colour and frame.ndim == 2 else frame


def is_clip_source(source: str) -> bool:
    """Returns whether a source is one of clips and not of photographs: a generator's form, or a folder in a layout of clips."""
    if source.startswith("semireal:"):
        return True
    if source.startswith("synthetic:"):
        return source.count(":") == 4
    path, root = Path(source), data_root()
    if not path.exists() and root is not None:
        path = root / path
    return path.is_dir() and has_layout(path)
