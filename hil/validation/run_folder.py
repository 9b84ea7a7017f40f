"""The folder of a `privcam design` on photographs, as a later stage needs it: design, recogniser, and the very people of then.

Deliberately not here: making one (`hil/verbs/design.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.encoder_graphs import kept_recogniser
from hil.verbs.design import SYNTHETIC
from hil.verbs.lineage import design_file
from optics_sim.data.clips import is_clip_source
from optics_sim.design import CameraDesign, LenslessOptics
from optics_sim.encoding import ReadoutEncoder
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Experiment
from optics_sim.learning.cohort import Cohort
from optics_sim.learning.recognisers import Recogniser
from optics_sim.run import read_record
from optics_sim.tables.lensless import Setting, cohort_of, main_mask, mask_key

RECOGNISER = "recogniser.safetensors"
_FROM_DESIGN = "name a run folder that `privcam design` made of photographs"


@dataclass(frozen=True)
class DesignRun:
    """A finished design run: its folder, what it designed, and how it was set."""

    folder: Path
    design: CameraDesign
    setting: Setting

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", **elsewhere: Any) -> DesignRun:
        """Returns the run of a folder. `elsewhere` (data, others, verifier, detector) says where such files lie now.

        Raises PrivcamError for a folder without a design or without the record of its run, and for a run on clips.
        """
        told = _arguments(folder)
        design = CameraDesign.load(design_file(folder))
        cells = _mask_of(design, told).cells
        data = SYNTHETIC if told.get("synthetic") else told["data"]
        named = {name: told.get(name) for name in ("verifier", "detector")} | {"data": data, "others": tuple(told.get("others") or ())}
        named |= {name: value for name, value in elsewhere.items() if value is not None}
        setting = Setting(**named, out=str(folder), scene=design.scene, cells=cells, start=str(folder / "author"), curve=False,
                          experiment=Experiment.load(folder / "experiment.toml"), device=device)
        return cls(folder, design, setting)

    @property
    def experiment(self) -> Experiment:
        """The experiment as it was run."""
        return self.setting.experiment

    @property
    def recogniser_file(self) -> Path:
        """Where the run keeps its recogniser."""
        return self.folder / "design" / RECOGNISER

    def recogniser(self) -> Recogniser:
        """Returns the run's own recogniser, on the setting's device; PrivcamError where there is none."""
        return kept_recogniser(self.recogniser_file).to(self.setting.device)

    def cohort(self, *, trusted: bool = False) -> Cohort:
        """Returns the people of the run: test pictures are those that its recogniser was not trained on.

        Raises PrivcamError where the pictures are not, bit for bit, those that the mask was learned on, unless they are `trusted`.
        """
        cohort = cohort_of(self.setting, self.experiment.seed)
        if not trusted:
            self._check_same_pictures(cohort)
        return cohort

    def _check_same_pictures(self, cohort: Cohort) -> None:
        file = self.folder / main_mask(self.setting).folder / "mask.json"
        if not file.is_file():
            raise PrivcamError("this run does not say on which pictures its mask was learned", got=str(file),
                               allowed="a finished run's folder",
                               todo="keep `masks/` with the run, or vouch for the pictures with --trust-data")
        kept = json.loads(file.read_text(encoding="utf-8"))["key"]
        found = mask_key(CameraDesign.load(self.folder / "author"), self.experiment, cohort)
        if found != kept:
            raise PrivcamError("these are not the pictures that the run was trained on: some test pictures may have trained it",
                               got=f"{self.setting.data}, {found[:12]}", allowed=kept[:12],
                               todo="give the run's data (--data); where only their last bits differ, as on another machine, --trust-data")


def digest_of_file(file: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def built_design(place: Path, design: CameraDesign) -> CameraDesign:
    """Returns the as-built design of a file or folder. Raises PrivcamError where it was not measured on this design's camera."""
    found = CameraDesign.load(place)
    if found.parent != design.digest:
        raise PrivcamError("this as-built design is of another camera", got=f"made from {(found.parent or 'nothing')[:12]}",
                           allowed=f"made from {design.digest[:12]}", todo="calibrate the camera of this run")
    changed = [name for name in ("scene", "readout", "exposure", "encoder") if getattr(found, name) != getattr(design, name)]
    if changed:
        raise PrivcamError("an as-built design says where the mask is and what the sensor is, and nothing else", got=", ".join(changed),
                           allowed="optics and sensor", todo="let the calibration write it")
    return found


def _arguments(folder: Path) -> Mapping[str, Any]:
    record = read_record(folder) if folder.is_dir() else None
    if record is None:
        raise PrivcamError("this is not the folder of a run", got=str(folder), allowed="a folder with a run.json", todo=_FROM_DESIGN)
    if record["verb"] != "design":
        raise PrivcamError("this is the folder of another verb's run", got=f"{folder}: {record['verb']}", allowed="design",
                           todo=_FROM_DESIGN)
    arguments: dict[str, Any] = record["arguments"]
    return arguments


def _mask_of(design: CameraDesign, told: Mapping[str, Any]) -> LenslessOptics:
    """Returns the optics of a run on photographs; PrivcamError for another run."""
    clips = told.get("synthetic_clips") or (told.get("data") is not None and is_clip_source(told["data"]))
    if clips or design.coding is not None or not isinstance(design.encoder, ReadoutEncoder):
        raise PrivcamError("a run on clips cannot be validated yet", got=f"encoder {design.encoder.kind}", allowed="photographs",
                           todo="give the run of `privcam design` on photographs")
    if not isinstance(design.optics, LenslessOptics):
        raise PrivcamError("only a camera with a mask can be validated yet", got=design.optics.kind, allowed="lensless", todo=_FROM_DESIGN)
    return design.optics
