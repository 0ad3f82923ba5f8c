"""From metres on the ground of a scene to pixels of its frames."""

import math

from person_search.synthetic.places.camera import AVERAGE_HEIGHT_M, Camera

Spot = tuple[float, float]
"""Metres to the right of the camera's axis, and away from the camera."""


class Ground:
    """A flat ground before a camera that looks level; the focal length is the frame's width."""

    def __init__(self, camera: Camera):
        """Measure the ground.

        Args:
            camera: its ``growth`` is an average person's height over the camera's height.
        """
        self.camera = camera
        self.focal = float(camera.width)
        """Pixels."""
        self.camera_height = AVERAGE_HEIGHT_M / camera.growth
        """Metres."""

    def scale(self, away: float) -> float:
        """Return the pixels of a metre at that distance, in metres."""
        return self.focal / away

    def project(self, spot: Spot) -> tuple[float, float]:
        """Return column and row of a spot."""
        across, away = spot
        scale = self.scale(away)
        camera = self.camera
        return camera.vanishing_x + across * scale, camera.horizon + self.camera_height * scale

    def spot_at(self, column: float, row: float) -> Spot:
        """Return the spot that is seen at a column and a row below the horizon."""
        away = self.focal * self.camera_height / (row - self.camera.horizon)
        return self.across_at(column, away), away

    def across_at(self, column: float, away: float) -> float:
        """Return how far to the right a column is at a distance, metres."""
        return (column - self.camera.vanishing_x) / self.scale(away)

    def away_of(self, height_px: float) -> float:
        """Return the distance at which an average person has that height, metres."""
        return self.focal * AVERAGE_HEIGHT_M / height_px

    def edge_spot(self, side: int, away: float) -> Spot:
        """Return a spot just out of the picture: beyond its left (-1) or right edge (1)."""
        margin = 0.4 * AVERAGE_HEIGHT_M * self.scale(away)
        column = -margin if side < 0 else self.camera.width + margin
        return self.across_at(column, away), away

    def yaw(self, dx: float, dz: float) -> float:
        """Return how a person who goes that way is turned to the camera, degrees.

        0 faces the camera, 90 goes to the right, as in ``people.pose``.
        """
        return math.degrees(math.atan2(dx, -dz)) % 360.0
