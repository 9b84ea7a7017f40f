"""Light, sensor, encoders, learning and attacks: the differentiable camera simulator."""
