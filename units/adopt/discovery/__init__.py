"""Discovery for an adoption: checkout, service, listeners, sites, variables and untracked files."""
