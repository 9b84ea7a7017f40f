"""Encoders on the other side of a wire."""
