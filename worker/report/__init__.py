"""Reports for people: `log_file` (with redaction), `recorder` (the steps) and `status` (status and decisions)."""
