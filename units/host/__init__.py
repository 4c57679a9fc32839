"""The host without its apps: the plan of users, directories and services, and the installed code."""
