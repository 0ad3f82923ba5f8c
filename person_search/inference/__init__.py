"""Find and embed the people of pictures: networks, whom a query means, thresholds, calibration."""
