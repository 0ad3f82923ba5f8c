"""From the people of single frames to stays: who is the same person from frame to frame.

Plain NumPy and SciPy on what a model found; where the frames come from does not matter.
"""
