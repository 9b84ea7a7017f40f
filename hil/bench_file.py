"""`bench.toml` as plain data: the kinds of cameras, rigs and devices that may stand on a table, with their fields.

A new kind is a class here, a case in `bench.py`, and a row in `docs/bench.md`. Deliberately not here: opening any of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from hil.cameras.made import Made
from hil.rigs.lamp import LampKind
from hil.rigs.micropython import Family
from hil.rigs.scpi import Quantity
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.measure import Source
from optics_sim.plain import Plain, toml_of, wrong_field

PAGE = "docs/bench.md"
Claim = Literal["emulated", "physical"]
Shows = Annotated[tuple[LampKind, ...], Field(min_length=1, description="what the lamp's light amounts to")]
Shape = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
Sign = Literal[-1, 1]


# --- cameras --------------------------------------------------------------------------------------
class SimulatedCamera(Plain):
    """The design's camera in a simulated world."""

    kind: Literal["simulated"]
    seed: int = Field(0, ge=0, description="of all noise; every session that is opened draws anew from it")
    temperature_c: float = Field(25.0, description="of the sensor")
    drop_probability: float = Field(0.0, ge=0, lt=1, description="of a frame to be lost on the wire")
    settling_frames: int = Field(2, ge=0, description="frames until new settings apply")
    delay_s: float = Field(0.0, ge=0, description="from exposure to host")
    made: Made | None = Field(None, description="how it differs from its design, for a calibration to find")


class ReplayCamera(Plain):
    """The frames of a capture set."""

    kind: Literal["replay"]
    set: str = Field(description="its folder or packed file")


class UnsaidByFiles(Plain):
    """What holds for files that do not say it themselves."""

    source: Source = Field(description="what made the frames")
    frame_period_s: float = Field(gt=0, description="from one frame to the next")
    sensor: str = Field("", description="as sold")
    black_level_dn: float | None = Field(None, ge=0, description="raw value of no light")
    settings: CaptureSettings | None = Field(None, description="of all files")


class FolderCamera(Plain):
    """DNG and TIFF files in the order of their names."""

    kind: Literal["folder"]
    folder: str = Field(description="where the files lie")
    unsaid: UnsaidByFiles | None = Field(None, description="what the files do not say")


class V4l2Camera(Plain):
    """A Linux video device with a raw format."""

    kind: Literal["v4l2"]
    device: Path = Field(description="/dev/videoN")
    sensor: str = Field(description="as sold")
    shape: Shape = Field(description="rows, columns")
    pixel_format: str = Field(description="V4L2's name, e.g. SRGGB10")
    black_level_dn: float = Field(ge=0, description="raw value of no light")
    gain_1_code: int | None = Field(None, gt=0, description="the driver's gain code that is gain 1")
    settling_frames: int = Field(6, ge=0, description="frames to let go: more than the driver's buffers hold")
    patience_s: float = Field(10.0, gt=0, description="a frame that does not come in this time never does")


class PiCamera(Plain):
    """The camera of the Raspberry Pi that this is (docs/pi-setup.md)."""

    kind: Literal["picamera2"]
    sensor: str = Field(description="imx219, imx296, imx477, imx708, ov9281, as libcamera names it, without _wide or _noir")
    shape: Shape = Field(description="rows, columns of one of its modes")
    bit_depth: int = Field(ge=8, le=16, description="of that mode; 16 keeps a Raspberry Pi 5's words as they are")
    number: int = Field(0, ge=0, description="of the camera, as rpicam-hello --list-cameras counts")
    packed: bool = Field(False, description="pack pixels on the way into memory; not on a Raspberry Pi 5, which would compress them")
    hflip: bool = Field(False, description="read columns out from the other side")
    vflip: bool = Field(False, description="read rows out from the other end")
    colour_gains: tuple[float, float] = Field((1.0, 1.0), description="of red and blue; raw numbers do not feel them")
    black_level_dn: float | None = Field(None, ge=0, description="raw value of no light; otherwise the tuning file's")
    remosaiced: bool = Field(False, description="take an imx708's full mode, whose pixels the sensor computes from others")
    source: Claim | None = Field(None, description="what its frames are where this is no Raspberry Pi")
    patience_s: float = Field(10.0, gt=0, description="for each step; for a frame, and some exposures")


class RemoteCamera(Plain):
    """The camera of `privcam agent` on another machine."""

    kind: Literal["remote"]
    url: str = Field(description="this machine's end of ssh -L, e.g. http://127.0.0.1:8765")
    patience_s: float = Field(60.0, gt=0, description="for a line that broke, or an agent that is started anew")


# --- rigs -----------------------------------------------------------------------------------------
class SimulatedRig(Plain):
    """Changes the simulated camera's world."""

    kind: Literal["simulated"]


class RemoteRig(Plain):
    """The rig of the remote camera's agent."""

    kind: Literal["remote"]


class PersonRig(Plain):
    """A person at the terminal."""

    kind: Literal["person"]
    timeout_s: float = Field(600.0, gt=0, description="for an answer")


class ScreenRig(Plain):
    """A browser over a whole screen."""

    kind: Literal["screen"]
    browser: tuple[str, ...] | None = Field(None, description="command that opens a page; [] leaves it to a person")
    open_s: float = Field(60.0, gt=0, description="until the page is there")
    paint_s: float = Field(10.0, gt=0, description="until it has painted")
    settle_s: float = Field(0.2, ge=0, description="that the panel takes after the browser")
    windowed: bool = Field(False, description="whether a window that does not fill the screen will do")
    source: Claim = Field("physical", description="emulated: no light comes of it")


class MicroPythonRig(Plain):
    """A lamp on a pin of a MicroPython board."""

    kind: Literal["micropython"]
    port: str = Field(description="/dev/ttyACM0, COM3, socket://127.0.0.1:PORT")
    pin: int = Field(ge=0, description="of the lamp")
    family: Family = Field("pwm", description="pwm: machine.PWM (Pico, ESP32); microbit: on or off")
    baud: int = Field(115200, gt=0, description="of the line")
    source: Claim | None = Field(None, description="what a socket leads to")
    shows: Shows = ("light",)


class ScpiRig(Plain):
    """A lamp on an instrument that speaks SCPI."""

    kind: Literal["scpi"]
    resource: str = Field(description="VISA resource, e.g. ASRL/dev/ttyUSB0::INSTR, TCPIP::192.168.0.7::INSTR")
    full: float = Field(gt=0, description="amperes or volts of level 1: never more is asked for")
    quantity: Quantity = Field("CURR", description="what is set")
    visa: str = Field("@py", description="VISA library; @py is pyvisa-py")
    baud: int = Field(9600, gt=0, description="of a serial line")
    timeout_s: float = Field(3.0, gt=0, description="for an answer")
    source: Claim | None = Field(None, description="what a socket of this machine leads to")
    shows: Shows = ("light",)


class StageMounting(Plain):
    """Where a stage carries the source."""

    axis_m: tuple[float, float, float] = Field(description="machine X, Y, Z where the source is on the optical axis")
    distance_m: float = Field(gt=0, description="from the camera's mask or lens there")
    right: Sign = Field(1, description="X runs with (1) or against (-1) the camera's x")
    down: Sign = Field(1, description="Y runs with or against the camera's y")
    away: Literal[-1, 0, 1] = Field(0, description="Z runs with or against the distance; 0: there is no Z")
    level: float = Field(1.0, gt=0, description="of the source, as a point's level")


class GcodeRig(Plain):
    """A point source on a stage."""

    kind: Literal["gcode"]
    port: str = Field(description="as for micropython")
    mounting: StageMounting = Field(description="where the source is")
    home: bool = Field(True, description="whether it has switches to find home by")
    baud: int = Field(115200, gt=0, description="of the line")
    travel_s: float = Field(120.0, gt=0, description="that a move may take")
    timeout_s: float = Field(3.0, gt=0, description="for an answer")
    source: Claim | None = Field(None, description="what a socket leads to")


# --- devices --------------------------------------------------------------------------------------
class NoDevice(Plain):
    """No encoder device."""

    kind: Literal["none"] = "none"


class HostDevice(Plain):
    """The computer that runs this, with an exported TFLite file."""

    kind: Literal["host"]
    file: str = Field(description="encoder.tflite, or the folder it is in")
    source: Claim | None = Field(None, description="a Raspberry Pi may claim less than physical")


class SerialDevice(Plain):
    """A microcontroller with privcam's firmware."""

    kind: Literal["serial"]
    port: str = Field(description="as for micropython")
    baud: int = Field(115200, gt=0, description="of the line")
    source: Claim | None = Field(None, description="what a socket leads to")


Camera = SimulatedCamera | ReplayCamera | FolderCamera | V4l2Camera | PiCamera | RemoteCamera
WiredRig = PersonRig | ScreenRig | MicroPythonRig | ScpiRig | GcodeRig
OfItsCamera = SimulatedRig | RemoteRig
Rig = OfItsCamera | WiredRig | None
Device = NoDevice | HostDevice | SerialDevice


class BenchFile(Plain):
    """What is on the table."""

    design: str | None = Field(None, description="design.toml of the camera; a simulated camera needs it")
    camera: Camera = Field(discriminator="kind", description="what takes frames")
    rig: Rig = Field(None, discriminator="kind", description="what shows; none before a camera that replays")
    device: Device = Field(NoDevice(), discriminator="kind", description="what encodes")
    even_photons_per_px_s: float | None = Field(None, gt=0, description="photons on a pixel and second of `even` light at level 1, as a "
                                                "calibrated photodiode measured them; a simulated world knows its own")

    @classmethod
    def load(cls, file: Path, *, served: bool = False) -> Self:
        """Returns the content of a bench.toml; PrivcamError, with file and key, for a wrong one. Nothing is opened.

        `served`: the bench is an agent's, whose client may show with a rig of its own.
        """
        try:
            content = cls.model_validate(toml_of(file))
        except FileNotFoundError:
            raise PrivcamError("no bench file", got=str(file), todo=f"write one: see {PAGE}") from None
        except ValidationError as error:
            raise wrong_field(error, f"{file}: ", PAGE) from None
        content.check(str(file), served=served)
        return content

    def check(self, file: str, *, served: bool = False) -> None:
        """Raises PrivcamError where camera and rig cannot see each other: their frames would be labelled wrong.

        What stands at the far end of a remote camera is known when it is opened.
        """
        camera, rig = self.camera.kind, None if self.rig is None else self.rig.kind
        if served and camera == "remote":
            raise PrivcamError(f"{file}: an agent serves what stands on its own table", got="a remote camera", allowed="any other",
                               todo="let the client ask that agent")
        wired = ("person", "screen", "micropython", "scpi", "gcode", *((None,) if served else ()))
        allowed = {"simulated": ("simulated",), "replay": (None,), "folder": (None,), "remote": ("remote", *wired, None)}.get(camera, wired)
        if rig not in allowed:
            raise PrivcamError(f"{file}: `rig.kind` does not go with `camera.kind`", got=f"{rig} before {camera}",
                               allowed=", ".join(name or "no rig" for name in allowed), todo="a camera sees what is in its own world")
        if camera == "simulated" and self.design is None:
            raise PrivcamError(f"{file}: `design` is missing", got=None, allowed="the path of a design.toml",
                               todo="a simulated camera is made of a design")


def replays(camera: Camera) -> bool:
    """Returns whether a kind of camera gives frames that were taken before."""
    return isinstance(camera, ReplayCamera | FolderCamera)
