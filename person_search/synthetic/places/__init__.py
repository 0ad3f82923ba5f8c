"""Where drawn people are: backgrounds, objects, cameras, and the scene put together."""
