"""Files, geometries, simulators and the cache of events."""
