"""Measures a real camera and returns the as-built design. `photon_transfer` measures the sensor."""
