"""The host: its files, services and apps, and the commands of root. This package never imports `worker`.

A command reads the host's facts and the catalogue, renders files, builds changes, and applies the missing ones.

Map: `cli` (commands) · `setup`, `uninstall`, `host` (the host without its apps) · `apps` · `adopt` (old projects) ·
`doctor` (checks) · `changes` (of the host, their application, the manifest) · `render`, `templates` (text of files) ·
`system` (paths, files, programs) · `demo` · `docker` · `in_app` (the part in an app's own process).
"""
