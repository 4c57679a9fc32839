"""One deployment: pipeline, target, build, handover, repair and retention."""
