"""The deployer: runs as `manager`, takes jobs from the queue and brings apps to their branch's head.

Layers, each using only those after it: `job` (one job, one ending) → `pipeline` (the steps in their order) → `target`,
`build`, `handover` (`in_place` or `blue_green`), `prune` (the steps) → `checkout`, `dependencies`, `share`,
`ownership`, `space`, `services`, `health`, `links` (one concern each) → `commands` (argument vectors, runs nothing)
and `run` (the only door to subprocess). Beside them: `queue_worker` (RQ's worker, made safe) · `context` (what a job
works with) · `life` (which deployments live, and how one whose process is gone ends) · `task` (what every step is
given) · `recorder` (record and log while it runs) · `logfile`, `masks` · `variables` (the app's own) · `journal` (the
app's memory on disk) · `lock` · `deaths` (that a commit is to blame for) · `errors` · `boot` (what served before a
restart of the host serves again) · `mend`, `running` (what runs, brought to what should).

What was missed: `reconcile` (the program) → `look` (at one app) → `weigh` (the decision) → `faults` (what is wrong with
what runs), `due` (when), `behind` (how far from the head), `hosts` (which are not waited for); it changes nothing, and
asks for a deployment.
"""
