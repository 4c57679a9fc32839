"""Reports of a deployment: its record, its log file and redaction."""
