#!/bin/sh
# Runs a program of an app with the variables of the release that it works in: `sh in_release.sh PROGRAM …`.
HOOKD_RELEASE=$(pwd -P)
HOOKD_RELEASE=${HOOKD_RELEASE##*/}
HOOKD_COMMIT=
[ ! -r REVISION ] || read -r HOOKD_COMMIT <REVISION
export HOOKD_RELEASE HOOKD_COMMIT
exec "$@"
