"""Redis and RQ: connections, deployment records, jobs, counters and the decision log."""
