"""The deployer: takes jobs from the queue, as the user `manager`, and brings apps to their branch's head.

Programs: `__main__` (a worker, with `rq_worker` and `job`), `standby` (its rest), `reconcile`, `boot`, `probe` and
`restore`.
Rooms: `deploy` (one deployment) uses `service` (start, stop, drift, health), `release` (git, venv, files) and `phase`.
`recovery` finishes crashed deployments. `process` runs programs. `report` writes the log and the status.
Files: `context` (what the steps share), `journal` (the app's memory on disk), `variables`, `errors`.
"""
