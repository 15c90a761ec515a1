"""Posts: the timeline, exploring, and saying something."""
