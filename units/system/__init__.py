"""Access to the host: paths, files, programs, systemd and nginx."""
