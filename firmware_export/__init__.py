"""What was learned, turned into things one can hold. Empty for now: the exporters join here."""
