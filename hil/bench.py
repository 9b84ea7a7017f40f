"""What is on the table: `bench.toml` names camera, rig and device, and alone chooses whether they are real or simulated.

Reading the file opens nothing; `with Bench.open(file) as bench` does, and closes again. Deliberately not here: what each thing is
(`hil/cameras/`, `hil/rigs/`, `hil/devices/`), imported when it is asked for, and the file's kinds (`bench_file.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from hil import bench_file as kinds
from hil.protocols import Camera, EncoderDevice, Rig
from hil.rigs.person import Ask, PersonRig
from hil.session import Table
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """An open bench. `rig` is None before a camera whose frames were taken before, `device` where there is none."""

    camera: Camera
    rig: Rig | None
    device: EncoderDevice | None
    design: CameraDesign | None

    @property
    def table(self) -> Table:
        """What a capture session needs of it."""
        return Table(self.camera, self.rig, "" if self.design is None else self.design.digest)

    @classmethod
    @contextmanager
    def open(cls, file: Path, *, pictures: Path = Path(), occasion: int = 0, tell: Tell = lambda text: None,
             ask: Ask | None = None, served: bool = False) -> Iterator[Bench]:
        """Gives the bench of a file, open until the block ends. Paths in it are relative to it.

        `pictures` is where stimuli's files lie. `occasion` counts how often a session was opened: a simulated camera's noise is new in
        each. `ask` asks a person (the terminal where left out), `tell` tells one something. `served` is for an agent. Raises
        PrivcamError for a wrong file and for what does not open.
        """
        content = kinds.BenchFile.load(file, served=served)
        folder = file.parent
        with ExitStack() as stack:
            design = None if content.design is None else CameraDesign.load(folder / content.design)
            camera, its_rig = _camera(content, design, folder, pictures, occasion, stack)
            rig = its_rig if isinstance(content.rig, kinds.OfItsCamera) else _rig(content.rig, pictures, tell, ask, stack)
            yield cls(camera, rig, _device(content.device, design, folder, stack), design)


def even_light(file: Path) -> float | None:
    """Returns the photons per pixel and second of a bench's even light at level 1, None where nobody measured it; opens nothing."""
    content = kinds.BenchFile.load(file)
    if content.camera.kind == "simulated" and content.design is not None:
        return CameraDesign.load(file.parent / content.design).exposure.white_photons_per_px_s
    return content.even_photons_per_px_s


def _camera(content: kinds.BenchFile, design: CameraDesign | None, folder: Path, pictures: Path, occasion: int,
            stack: ExitStack) -> tuple[Camera, Rig | None]:
    """Returns the camera, and the rig that comes with it: that of a simulated one's world, or of a remote one's agent."""
    camera = content.camera
    match camera:
        case kinds.SimulatedCamera():
            return _simulated(camera, _needed(design), pictures, occasion)
        case kinds.ReplayCamera():
            from hil.cameras.replay import ReplayCamera
            from hil.capture_set.packed import open_set

            return ReplayCamera(open_set(folder / camera.set)), None
        case kinds.FolderCamera():
            from hil.cameras.folder import FolderCamera, Unsaid

            unsaid = None if camera.unsaid is None else Unsaid(**dict(camera.unsaid))
            return FolderCamera(folder / camera.folder, unsaid), None
        case kinds.V4l2Camera():
            from hil.cameras.v4l2 import V4l2Camera

            return stack.enter_context(V4l2Camera(camera.device, **camera.model_dump(exclude={"kind", "device"}))), None
        case kinds.PiCamera():
            from hil.cameras.picamera2 import Picamera2Camera

            return stack.enter_context(Picamera2Camera(**camera.model_dump(exclude={"kind"}))), None
        case kinds.RemoteCamera():
            return _remote(camera, content.rig, design, pictures, occasion, stack)
        case _:
            assert_never(camera)


def _remote(camera: kinds.RemoteCamera, rig: kinds.Rig, design: CameraDesign | None, pictures: Path, occasion: int,
            stack: ExitStack) -> tuple[Camera, Rig | None]:
    from hil.agent.client import RemoteAgent
    from hil.cameras.remote import RemoteCamera
    from hil.rigs.remote import RemoteRig

    agent = stack.enter_context(RemoteAgent(camera.url, pictures=pictures, occasion=occasion, patience_s=camera.patience_s))
    there = agent.opened
    if design is not None and there.design not in ("", design.digest):
        raise PrivcamError("the agent's camera is of another design", got=there.design[:12], allowed=design.digest[:12],
                           todo="give both benches the same design.toml")
    kind = None if rig is None else rig.kind
    if (kind is None) != there.replays or (there.camera.source == "simulated" and kind not in (None, "remote")):
        raise PrivcamError("`rig.kind` does not go with the agent's camera", got=f"{kind or 'no rig'} before {there.camera.name}",
                           allowed="no rig" if there.replays else "remote" if there.camera.source == "simulated" else "a rig",
                           todo="a camera sees what is in its own world")
    return RemoteCamera(agent), RemoteRig(agent) if kind == "remote" else None


def _simulated(camera: kinds.SimulatedCamera, design: CameraDesign, pictures: Path, occasion: int) -> tuple[Camera, Rig]:
    import torch

    from hil.cameras.simulated import SimulatedCamera
    from hil.cameras.world import World
    from hil.rigs.simulated import SimulatedRig

    world = World(scene=np.zeros(design.scene), temperature_c=camera.temperature_c, drop_probability=camera.drop_probability,
                  settling_frames=camera.settling_frames, delay_s=camera.delay_s)
    seed = int(np.random.SeedSequence([camera.seed, occasion]).generate_state(1, np.uint64)[0] >> 1)
    made = SimulatedCamera(design, world, generator=torch.Generator().manual_seed(seed), made=camera.made)
    return made, SimulatedRig(world, (design.scene[0], design.scene[1]), pictures)


def _needed(design: CameraDesign | None) -> CameraDesign:
    if design is None:  # a bench file without one was refused
        raise PrivcamError("a simulated camera needs a design", todo="name one in bench.toml")
    return design


def _rig(rig: kinds.WiredRig | None, pictures: Path, tell: Tell, ask: Ask | None, stack: ExitStack) -> Rig | None:
    match rig:
        case None:
            return None
        case kinds.PersonRig():
            from hil.rigs.terminal import Terminal

            return PersonRig(ask or Terminal(sys.stdin, sys.stderr), timeout_s=rig.timeout_s)
        case kinds.ScreenRig():
            from hil.rigs.screen import KIOSK, ScreenRig

            said = rig.model_dump(exclude={"kind", "browser"})
            return stack.enter_context(ScreenRig(browser=KIOSK if rig.browser is None else rig.browser, folder=pictures, tell=tell, **said))
        case kinds.MicroPythonRig():
            from hil.rigs.lamp import LampRig
            from hil.rigs.micropython import MicroPythonLamp

            board = MicroPythonLamp(rig.port, **rig.model_dump(exclude={"kind", "port", "shows"}))
            return stack.enter_context(LampRig(board, rig.shows))
        case kinds.ScpiRig():
            from hil.rigs.lamp import LampRig
            from hil.rigs.scpi import ScpiLamp

            supply = ScpiLamp(rig.resource, **rig.model_dump(exclude={"kind", "resource", "shows"}))
            return stack.enter_context(LampRig(supply, rig.shows))
        case kinds.GcodeRig():
            from hil.rigs.gcode import GcodeStage, Mounting

            mounting = Mounting(**dict(rig.mounting))
            return stack.enter_context(GcodeStage(rig.port, mounting, **rig.model_dump(exclude={"kind", "port", "mounting"})))
        case _:
            assert_never(rig)


def _device(device: kinds.Device, design: CameraDesign | None, folder: Path, stack: ExitStack) -> EncoderDevice | None:
    said: dict[str, Any]
    match device:
        case kinds.NoDevice():
            return None
        case kinds.HostDevice():
            from firmware_export.tflite_encoder import TfliteEncoder
            from hil.devices.host_encoder import HostEncoder

            encoder = TfliteEncoder.load(folder / device.file, digest=None if design is None else design.digest)
            return HostEncoder(encoder, source=device.source)
        case kinds.SerialDevice():
            from hil.devices.serial_device import SerialDevice

            said = device.model_dump(exclude={"kind", "port"})
            return stack.enter_context(SerialDevice(device.port, digest=None if design is None else design.digest, **said))
        case _:
            assert_never(device)
