"""A printer measured: the calibration sheet, and what a scan of it says.

`plan` says what stands where on the sheet, `drawing` makes it a figure, `sheet_files` writes it through the mask's
writers; `fiducials` finds the sheet in a scan, `edges` measures its edges, `tones` its levels, `reading` makes the
process file.
"""
