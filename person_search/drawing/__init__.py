"""Pictures of results: boxes on a frame, and sheets of ranked matches."""
