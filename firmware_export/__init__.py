"""What was learned, turned into things one can hold: `masks` (films, photomasks, stencils, prints), integer networks as TFLite
files and as C (docs/int8.md), and the `firmware` around them.
"""
