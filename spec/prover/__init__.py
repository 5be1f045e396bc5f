"""What the chapter on the proof is made of: footprints, steps, obligations, drawings."""
