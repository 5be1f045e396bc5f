"""What the chapters on the proof are made of: footprints, steps, the solver."""
