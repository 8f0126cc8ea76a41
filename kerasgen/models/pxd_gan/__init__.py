"""The sensor-conditional GAN of pixel-detector hitmaps."""
