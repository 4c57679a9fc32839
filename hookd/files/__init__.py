"""Files on shared directories: safe opening, ownership policies, access lists and the audit of both."""
