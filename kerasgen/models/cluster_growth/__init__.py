"""Clusters that grow pixel by pixel from a learned distribution."""
