"""Read SQL files with one SELECT each, and turn them into declarations."""
