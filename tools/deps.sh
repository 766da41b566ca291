#!/bin/sh
# Installs what the tests need and the machine lacks: Go comes with whoever runs this; PostgreSQL,
# strace and Node come from Debian's packages; npm packages are those of the lock files.
set -eu
cd "$(dirname "$0")/.."

missing=""
have() { command -v "$1" >/dev/null 2>&1; }
have initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
have strace || missing="$missing strace"
have node || missing="$missing nodejs"
have npm || missing="$missing npm"
have curl || missing="$missing curl"
have git || missing="$missing git"
# A real container engine and what an image is made of. runc, since crun refuses machines that have
# both versions of control groups.
have podman || missing="$missing podman"
have conmon || missing="$missing conmon"
have runc || missing="$missing runc"
have bwrap || missing="$missing bubblewrap" # what environments are measured beside
have busybox || missing="$missing busybox-static"
[ -x /usr/bin/python3 ] || missing="$missing python3"

if [ -n "$missing" ]; then
	if ! have apt-get; then
		echo "make: these programs are needed for the tests:$missing" >&2
		exit 1
	fi
	sudo=""
	[ "$(id -u)" = 0 ] || sudo="sudo"
	echo "installing:$missing"
	# Debian's postgresql package would start a cluster of its own: the tests make theirs.
	$sudo mkdir -p /etc/postgresql-common
	[ -e /etc/postgresql-common/createcluster.conf ] ||
		echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
	# shellcheck disable=SC2086
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

# A lock file that is newer than what was installed from it says what to do.
git ls-files '*package-lock.json' | while read -r lock; do
	dir=$(dirname "$lock")
	if [ ! "$dir/node_modules/.package-lock.json" -nt "$lock" ]; then
		echo "npm ci in $dir"
		(cd "$dir" && npm ci --no-audit --no-fund --loglevel=error </dev/null)
	fi
done
