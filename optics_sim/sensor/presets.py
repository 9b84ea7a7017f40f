"""Sensors we have numbers for, each number beside its source: the TOML files in `presets/`.

A new sensor is one new TOML file there. A field without an entry under `[sources]` is `assumed`, and
prints so. Deliberately not here: light, noise, torch.

`python -m optics_sim.sensor.presets docs/sensor-presets.md` writes the table of the documentation.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from optics_sim.design import Sensor
from optics_sim.errors import PrivcamError

_UNITS = {
    "shape": "raw pixels (rows, columns)",
    "pixel_pitch_m": "m",
    "cfa": "",
    "shutter": "",
    "bit_depth": "bit",
    "black_level_dn": "DN",
    "gain_dn_per_e": "DN/e- at analogue gain 1",
    "full_well_e": "e-",
    "read_noise_e": "e-",
    "row_noise_e": "e-",
    "quantum_efficiency": "e- per photon",
    "dark_current_e_per_s": "e-/s",
    "prnu": "1",
    "dsnu_e": "e-",
}


def names() -> list[str]:
    """Returns the names of the presets, in alphabetical order."""
    folder = files("optics_sim.sensor").joinpath("presets")
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name: str) -> Sensor:
    """Returns the preset sensor of that name; PrivcamError for a name that is not one of `names()`."""
    if name not in names():
        raise PrivcamError("no such sensor preset", got=name, allowed=names(),
                           todo="take one of these, or write a [sensor] table")
    text = files("optics_sim.sensor").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return Sensor.model_validate(tomllib.loads(text))


def describe(sensor: Sensor) -> list[tuple[str, str, str, str]]:
    """Returns (field, value, unit, source) of every number of a sensor; a source nobody gave is `assumed`."""
    return [(field, _text(getattr(sensor, field)), unit, sensor.source_of(field)) for field, unit in _UNITS.items()]


def table() -> str:
    """Returns the presets as the Markdown page `docs/sensor-presets.md`."""
    lines = [
        "# Sensor presets",
        "",
        "Written by `python -m optics_sim.sensor.presets docs/sensor-presets.md`; change the TOML files, not this page.",
        "",
        "libcamera models the noise of a raw pixel as sigma = slope * sqrt(mean) on a 16-bit scale. Shot noise obeys",
        "sigma^2 = K * mean, so K is slope^2 on that scale and slope^2 / 2^(16 - bits) in the sensor's own DN.",
        "A number marked **assumed** is plausible for a sensor of this kind and has no source: measure your own.",
        "Quantum efficiency of a colour sensor is (red, green, blue). Read noise is at the input, the same at every gain.",
        "Shapes, pitches and shutters agree with the Raspberry Pi documentation (camera hardware); the OV9281's with Luxonis' data",
        "of the OV9282, which differs by its lens' chief ray angle (the Linux binding).",
    ]
    for name in names():
        lines += ["", f"## {name}", "", "| field | value | unit | source |", "|---|---|---|---|"]
        lines += [f"| `{field}` | {value} | {unit} | {_mark(source)} |" for field, value, unit, source in describe(load(name))]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Returns nothing; writes the table to the one path given."""
    if len(arguments) != 1:
        raise PrivcamError("one path is needed", got=list(arguments), todo="give the page to write, docs/sensor-presets.md")
    Path(arguments[0]).write_text(table(), encoding="utf-8")


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_text(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _mark(source: str) -> str:
    return "**assumed**" if source == "assumed" else source


if __name__ == "__main__":
    main(sys.argv[1:])
