"""A drawn town: people who walk from camera to camera, filmed on one clock."""
