"""The host without its apps: changes of users, directories and services, and the installed code."""
