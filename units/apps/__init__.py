"""Apps on a server: options, conflicts, changes of files and units, services, secrets and permissions."""
