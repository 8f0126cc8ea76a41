"""Built-in simulator of background hits in a pixel vertex detector."""
