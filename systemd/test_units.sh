#!/bin/sh
# The units are correct for systemd, hardened, and what they name is what the tree builds. Skipped where systemd's tools are not installed.
set -u
if ! command -v systemd-analyze >/dev/null 2>&1; then
	echo "1..0 # SKIP systemd-analyze is not installed"
	exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
src=${top_srcdir:?}/systemd
echo 1..7
n=0

# result NAME FINDINGS: good when nothing was found.
result() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		printf '%s\n' "$2" | sed 's/^/# /'
	fi
}

# As installed, with the program that the tree has built in the place of the installed one.
unit=${top_builddir:?}/systemd/sluiced.service
program=$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$unit")
sed "s,$program,$top_builddir/sluiced,g" "$unit" >"$dir/sluiced.service"
cp "$src/sluiced.socket" "$dir"

result 'no placeholder is left' "$(grep -E '@(sbindir|sysconfdir)@|\$\{' "$unit")"
result 'systemd-analyze verify is silent' "$(systemd-analyze verify --man=no "$dir/sluiced.service" "$dir/sluiced.socket" 2>&1)"
mkdir "$dir/broken"
sed 's/^WatchdogSec=.*/WatchdogSec=often/' "$dir/sluiced.service" >"$dir/broken/sluiced.service"
result 'which it is not for a unit with a mistake' \
	"$(systemd-analyze verify --man=no "$dir/broken/sluiced.service" 2>&1 | grep -q often || echo 'nothing was said')"
security=$(systemd-analyze security --no-pager --offline=true --threshold=15 "$dir/sluiced.service" 2>&1) && security=
result 'systemd-analyze security says at most 1.5' "$security"
printf 'NoNewPrivileges=no\nProtectSystem=no\nSystemCallFilter=\nCapabilityBoundingSet=~\n' | sed 's/^/[Service]\n/' >>"$dir/broken/sluiced.service"
result 'and more for one without the hardening' "$(systemd-analyze security --no-pager --offline=true --threshold=15 \
	"$dir/broken/sluiced.service" >/dev/null 2>&1 && echo 'it passed as well')"

mkdir -p "$dir/tree/etc" "$dir/tree/var/lib/sluice"
findings=$({ systemd-sysusers --root="$dir/tree" "$src/sluice.sysusers" && systemd-tmpfiles --root="$dir/tree" --create "$src/sluice.tmpfiles"; } 2>&1) &&
	[ "$(sed -n 's/^sluice:x:\([0-9]*\):[0-9]*:[^:]*:\/var\/lib\/sluice:.*nologin$/\1/p' "$dir/tree/etc/passwd")" = \
		"$(stat -c %u "$dir/tree/var/lib/sluice")" ] && [ "$(stat -c %a "$dir/tree/var/lib/sluice")" = 700 ] && findings=
[ "$(id -u)" = 0 ] || findings= # only root gives a directory away
result 'the user is made, and the data is its own' "$findings"
result 'the user is that of the unit' "$(grep -qx 'User=sluice' "$unit" && grep -q '^u sluice ' "$src/sluice.sysusers" || echo 'they differ')"
