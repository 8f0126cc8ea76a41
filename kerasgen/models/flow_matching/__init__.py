"""Flow matching: a velocity field moves normally distributed points to the points of a set."""
