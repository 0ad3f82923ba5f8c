"""Read footage: pictures, videos, folders, and when each frame was taken.

A video's clock is read by ``video``, a picture's time by ``files``; ``time_text`` is for people.
"""
