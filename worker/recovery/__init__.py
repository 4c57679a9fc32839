"""Recovery from crashes: liveness, abandoned deployments, lost jobs and broken Redis keys."""
