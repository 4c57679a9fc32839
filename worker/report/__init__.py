"""Reports for people: `log` (redacted lines, and the steps) and `status` (status and decisions)."""
