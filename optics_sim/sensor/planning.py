"""How long to expose, how far to shift, and whether a converter can see the noise at all. Plain Python.

Deliberately not here: the light itself (`optics_sim.sensor.model`).
"""

from __future__ import annotations

from typing import Literal

from optics_sim.design import Exposure, Readout, Sensor
from optics_sim.errors import PrivcamError

QUANTISATION_LIMIT_DN = 0.5  # below this dark sigma, rounding hides the noise (EMVA 1288 4.0: sigma_y.dark^2 >= 0.24 DN^2)


def quantum_efficiencies(sensor: Sensor) -> tuple[float, float, float]:
    """Returns electrons per photon of (red, green, blue) pixels; three equal numbers where there is only one.

    Raises PrivcamError for a mono sensor with three.
    """
    value = sensor.quantum_efficiency
    if isinstance(value, float):
        return (value, value, value)
    if sensor.cfa == "mono":
        raise PrivcamError("a mono sensor has one quantum efficiency", got=value, allowed="one number")
    return value


def clip_level_e(sensor: Sensor, analogue_gain: float) -> float:
    """Returns the electrons at which a pixel saturates: its full well, or the converter's clip if that comes first."""
    converter_e = (2**sensor.bit_depth - 1 - sensor.black_level_dn) / (sensor.gain_dn_per_e * analogue_gain)
    return min(sensor.full_well_e, converter_e)


def quarter_well_exposure_s(sensor: Sensor, irradiance: float, *, analogue_gain: float = 1.0, fill: float = 0.25) -> float:
    """Returns the exposure in which `irradiance` fills a quarter of the well (`fill` of the saturation level).

    `irradiance`: photons per raw pixel and second, of whatever should be there: the mean of the code, or its
    brightest pixel. The most sensitive colour counts; dark current uses up its share of the well.
    Raises PrivcamError when there is no light.
    """
    if irradiance <= 0:
        raise PrivcamError("no light to expose for", got=irradiance, allowed="photons per pixel and second above 0",
                           todo="check the scene and the mask")
    if not 0 < fill <= 1:
        raise PrivcamError("the fill is a fraction of the well", got=fill, allowed="above 0, up to 1")
    rate = irradiance * max(quantum_efficiencies(sensor)) + sensor.dark_current_e_per_s
    return fill * clip_level_e(sensor, analogue_gain) / rate


def fitting_shift(maximum_sum_dn: float) -> int:
    """Returns the smallest shift with which a bin sum (black level taken off) still reads at most 255.

    Raises PrivcamError when no shift up to 30 does.
    """
    for shift in range(31):
        if (round(maximum_sum_dn) + ((1 << shift) >> 1)) >> shift <= 255:
            return shift
    raise PrivcamError("the sum is too large for any shift", got=maximum_sum_dn, allowed="below 2**38",
                       todo="make the bin smaller")


def largest_sum_dn(sensor: Sensor, exposure: Exposure, spec: Readout, irradiance: float) -> float:
    """Returns the mean bin sum (black level taken off) of a code pixel under `irradiance` photons/px/s."""
    red, green, blue = quantum_efficiencies(sensor)
    shares = {"sum": (1, 2, 1), "red": (1, 0, 0), "green": (0, 2, 0), "blue": (0, 0, 1)}[spec.planes]
    well_e = clip_level_e(sensor, exposure.analogue_gain)
    dark = sensor.dark_current_e_per_s
    electrons = [min(well_e, (irradiance * qe + dark) * exposure.exposure_s) for qe in (red, green, blue)]
    per_tile = sum(share * electron for share, electron in zip(shares, electrons, strict=True))
    return per_tile / 4 * spec.bin[0] * spec.bin[1] * sensor.gain_dn_per_e * exposure.analogue_gain


def dark_sigma_dn(sensor: Sensor, analogue_gain: float, exposure_s: float = 0.0) -> float:
    """Returns the temporal dark noise before rounding: read, row and dark current noise, in DN."""
    variance_e = sensor.read_noise_e**2 + sensor.row_noise_e**2 + sensor.dark_current_e_per_s * exposure_s
    return float(variance_e**0.5) * sensor.gain_dn_per_e * analogue_gain


def noise_regime(sensor: Sensor, analogue_gain: float) -> Literal["measurable", "quantisation-limited"]:
    """Returns whether the dark noise shows above the converter's steps at that gain (sigma of at least 0.5 DN).

    Reference: EMVA 1288 release 4.0, section on temporal dark noise: below sigma^2 = 0.24 DN^2 the standard only bounds it.
    """
    return "measurable" if dark_sigma_dn(sensor, analogue_gain) >= QUANTISATION_LIMIT_DN else "quantisation-limited"
