"""Measures a real camera and returns the as-built design. Empty for now: `plan` and `fit` join here."""
