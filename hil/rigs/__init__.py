"""Rigs: what shows stimuli to a camera. A simulated world, a person, a screen, a lamp on a wire, a stage."""
