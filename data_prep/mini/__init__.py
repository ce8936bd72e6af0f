"""The mini corpus: synthesised speech, a 3D head that speaks it, and the truth about both.

Units of the head: centimetres, x to the image right, y down, z away from the viewer, origin between
the eyes. The camera is orthographic, so the truth pose is exact: pixels = s R X + t.
"""
