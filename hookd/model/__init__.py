"""Values that all processes share: apps, deployments, journals and decisions, without input or output."""
