"""How a camera is trained and judged: the second of the three files a person writes (`experiment.toml`).

Deliberately not here: what the camera is (`design.toml`) and what is on the table (`bench.toml`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import Field, ValidationError

from optics_sim.errors import PrivcamError
from optics_sim.plain import Plain, toml_of, wrong_field

ConstraintKind = Literal["none", "sim", "tv", "inv", "rip"]


class MaskTraining(Plain):
    """How the mask is learned."""

    learning_rate: float = Field(0.05, gt=0, description="Adam, on the logits")
    start_open_fraction: float = Field(0.1, gt=0, lt=1, description="of a random sparse start")
    first_temperature: float = Field(1.0, gt=0, description="of the sigmoid whose gradient passes the threshold")
    last_temperature: float = Field(0.5, gt=0, description="reached geometrically at the end of training")
    min_feature_cells: int = Field(1, ge=1, description="smallest clear or opaque feature")
    max_open_fraction: float = Field(1.0, gt=0, le=1, description="share of clear cells never exceeded")


class Training(Plain):
    """The joint training of mask and recogniser, and the training of every recogniser alone."""

    recogniser: Literal["small", "resnet18"] = Field("small", description="four convolutions, or ResNet-18 for small codes")
    epochs: int = Field(30, ge=1, description="of the mask's training, and again of the fresh recogniser's")
    batch: int = Field(64, ge=2, description="scenes in a step")
    learning_rate: float = Field(0.05, gt=0, description="SGD with Nesterov momentum 0.9, warm-up, cosine decay")
    weight_decay: float = Field(5e-4, ge=0, description="of the recogniser, never of the mask")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="of the cross entropy")
    shift_px: int = Field(2, ge=0, description="random translation of the scene, with black edges")
    flip: bool = Field(True, description="mirror the scene left to right at random")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the networks; the physics is always float32")
    constraint: ConstraintKind = Field("none", description="a loss of the lensless paper added to the cross entropy")
    constraint_weight: float = Field(0.0, ge=0, description="of that loss as normalised in `optics_sim/learning/losses.py`")
    mask: MaskTraining = Field(MaskTraining(), description="how the mask is learned")


class Adapting(Plain):
    """How a trained recogniser is trained on for the camera as it was built; the rest is as it was trained."""

    epochs: int = Field(30, ge=1, description="over the training pictures")
    learning_rate: float = Field(0.02, gt=0, description="warm-up, cosine decay")


class Judging(Plain):
    """What the attackers may use."""

    decoder_pairs: int = Field(1000, ge=10, description="plaintext pairs of other people")
    decoder_steps: int = Field(250, ge=1, description="of 32 pairs each")
    identity_epochs: int = Field(10, ge=1, description="of the network trained on codes of other people")
    images_per_victim: int = Field(8, ge=2, description="images of each person not enrolled that are attacked")
    victim_fraction: float = Field(0.4, gt=0, lt=1, description="of the people not enrolled; the rest are the attacker's")
    admm_iterations: int = Field(100, ge=1, description="of ADMM with total variation")
    fista_iterations: int = Field(100, ge=1, description="of accelerated gradients")
    wrong_cell_fractions: tuple[float, ...] = Field((0.01, 0.05), description="cells that an attacker has wrong")
    detector_images: int = Field(32, ge=8, description="pictures shown to the face detector")
    shuffles: int = Field(100, ge=20, description="repeats of the control with people shuffled")


class ExperimentFile(Plain):
    """What every experiment file can do: be read with overrides, and be written."""

    @classmethod
    def load(cls, path: Path, overrides: dict[str, Any] | None = None) -> Self:
        """Returns the experiment of a TOML file with dotted overrides applied; PrivcamError when it is not one."""
        try:
            return cls.from_dict(toml_of(path), overrides)
        except FileNotFoundError:
            raise PrivcamError("no experiment file", got=str(path), todo="give an experiment.toml") from None

    @classmethod
    def from_dict(cls, data: dict[str, Any], overrides: dict[str, Any] | None = None) -> Self:
        """Returns the validated experiment of plain data with dotted overrides (`training.epochs`) applied."""
        for path, value in (overrides or {}).items():
            *parents, last = path.split(".")
            node = data
            for key in parents:
                node = node.setdefault(key, {})
                if not isinstance(node, dict):
                    raise PrivcamError("an override goes through a field that has no fields of its own", got=path, allowed=key,
                                       todo="see docs/experiment-file.md")
            node[last] = value
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise wrong_field(error, "the experiment's ", "docs/experiment-file.md") from None

    def to_toml(self) -> str:
        """Returns the experiment as TOML text."""
        return tomli_w.dumps(self.model_dump(mode="json"))


class Experiment(ExperimentFile):
    """Everything that decides a training and its judgement, apart from the camera and the data."""

    seed: int = Field(0, description="from it every stage draws its own generator")
    enrolled: int = Field(10, ge=2, description="people the camera recognises; the others are outsiders")
    split: tuple[float, float, float] = Field((0.7, 0.1, 0.2), description="train, validation, test")
    training: Training = Field(Training(), description="of mask and recogniser")
    judging: Judging = Field(Judging(), description="what the attackers may use")
