"""Cameras: a simulated world, stored frames, files of other programs, and a sensor on a wire."""
