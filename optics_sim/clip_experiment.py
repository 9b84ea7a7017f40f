"""How a camera for clips is trained and judged: the `experiment.toml` of the video systems.

Deliberately not here: what the camera is (`design.toml`), and the experiment of the lensless system (`experiment`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optics_sim.experiment import ExperimentFile, MaskTraining
from optics_sim.plain import Plain

Network3d = Literal["small3d", "resnet18_3d", "resnet50_3d"]
Network2d = Literal["small", "mobile", "patches", "resnet18", "shift_variant"]


class ClipTraining(Plain):
    """The adversarial training of encoder and action recogniser, and the training of every network alone."""

    recogniser: Network3d = Field("small3d", description="of actions")
    image_recognisers: tuple[Network2d, ...] = Field(("shift_variant",), min_length=1, description="of actions, of one coded image each; "
                                                    "the best on validation counts, the first trains the code")
    unseen_people: float = Field(0.33, ge=0, lt=1, description="share of the training people whom the recogniser of coded images never "
                                 "sees while an exposure code or its mask is learned from them; 0: both learn from everyone")
    adversary: Network2d = Field("small", description="of identities on single frames, against whom the encoder is trained")
    adversaries: int = Field(1, ge=1, description="trained side by side, each from its own start; the encoder faces their mean")
    adversary_sees: tuple[Literal["frame", "sum"], ...] = Field(("frame",), min_length=1, description="single frames of codes, of "
                                                               "their running sum, or both; `adversaries` for each")
    restart_epochs: int = Field(0, ge=0, description="adversaries begin anew every so many epochs; 0: never")
    alpha: float = Field(2.0, ge=0, description="weight of the adversary's entropy in the encoder's loss")
    epochs: int = Field(30, ge=1, description="of the adversarial training, and again of every fresh network")
    batch: int = Field(16, ge=2, description="clips in a step")
    learning_rate: float = Field(0.02, gt=0, description="of the networks; SGD with Nesterov momentum 0.9, warm-up, cosine decay")
    encoder_learning_rate: float = Field(0.02, gt=0, description="Adam, of the encoder's parameters, or an exposure code's weights")
    learn_sigma: bool = Field(True, description="the blur is learned; false: it stays where it starts")
    weight_decay: float = Field(5e-4, ge=0, description="of the networks, never of the encoder")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="of the cross entropy")
    shift_px: int = Field(3, ge=0, description="random translation of a whole clip of codes")
    flip: bool = Field(True, description="mirror clips left to right at random")
    mask: MaskTraining = Field(MaskTraining(), description="a mask that is learned together with an exposure code")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the networks; the physics is always float32")


class ClipJudging(Plain):
    """What the attackers may use."""

    frame_networks: tuple[Network2d, ...] = Field(("small", "mobile", "patches"), min_length=1,
                                                  description="2D attackers; those that are not `training.adversary` are unseen")
    gait_networks: tuple[Network3d, ...] = Field(("small3d",), min_length=1, description="3D attackers")
    epochs: int = Field(20, ge=1, description="of each attacker")
    frames_per_clip: int = Field(4, ge=1, description="that a 2D network sees of a clip in a step")
    decoder_steps: int = Field(200, ge=0, description="of the 3D U-Net that reconstructs clips; 0: not tried")
    shuffles: int = Field(200, ge=20, description="repeats of the control with people shuffled")


class ClipExperiment(ExperimentFile):
    """Everything that decides a training on clips and its judgement, apart from the camera and the data."""

    seed: int = Field(0, description="from it every stage draws its own generator, and the actors of each part")
    frames: int = Field(16, ge=4, description="of a clip")
    windows: int = Field(4, ge=1, description="clips cut from one recording")
    training: ClipTraining = Field(ClipTraining(), description="of encoder and recogniser")
    judging: ClipJudging = Field(ClipJudging(), description="what the attackers may use")
