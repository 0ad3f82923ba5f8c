"""Read footage: pictures, videos, folders, and when each frame was taken."""
