"""Metrics with intervals, figures and the page a person reads."""
