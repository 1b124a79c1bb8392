"""Fuzzing of the yamux core: make fuzz."""
