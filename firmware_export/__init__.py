"""What was learned, turned into things one can hold: integer networks, as TFLite files and as C (docs/int8.md)."""
