#!/bin/sh
# Runs a program of an app with the variables of the release that it works in: `sh in_release.sh PROGRAM …`.
# Its directory is HOOKD_DIRECTORY in the release, if the app has one (service.directory).
HOOKD_RELEASE=$(pwd -P)
HOOKD_RELEASE=${HOOKD_RELEASE##*/}
HOOKD_COMMIT=
[ ! -r REVISION ] || read -r HOOKD_COMMIT <REVISION
[ ! -d "./${HOOKD_DIRECTORY-}" ] || cd "./${HOOKD_DIRECTORY-}" || exit
export HOOKD_RELEASE HOOKD_COMMIT
exec "$@"
