"""Effect on signal tracks of replacing real by generated background in the pixel detector."""
