"""Apps on a server: options, conflicts, the plan of files and units, services, secrets and permissions."""
