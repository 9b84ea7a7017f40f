"""Measures a real camera and returns the as-built design.

`photon_transfer` measures the sensor; `psf`, `paired_psf` and `separable` the optics; `homography` the screen; `timing` the clock.
"""
