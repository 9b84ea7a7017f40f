"""Readers of people's pictures, their splits, and a generator of synthetic people."""
