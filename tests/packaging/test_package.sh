#!/bin/sh
# The archive is reproducible, and the Debian package that it makes has what it should, is accepted by lintian, and runs.
# Usage: test_package.sh BUILD-TREE. Takes a minute or two; needs dpkg-dev, debhelper, lintian, and root or user namespaces for the last step.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
jobs=${SLUICE_JOBS:-$(nproc)}

say() {
	echo "package: $*"
}
fail() {
	echo "package: error: $*" >&2
	exit 1
}

# ---- one version, one ABI ----

version=$(sed -n 's/^AC_INIT(\[sluice\], \[\([^]]*\)\].*/\1/p' "$top/configure.ac")
abi=$(sed -n 's/^#define SLUICE_ABI_M..OR //p' "$top/include/sluice/plugin.h" | paste -s -d .)
[ "$(dpkg-parsechangelog -l "$top/debian/changelog" -S Version)" = "$version" ] || fail "debian/changelog is not about version $version"
[ "$(head -n 1 "$top/NEWS")" = "sluice $version" ] || fail "NEWS does not begin with version $version"
grep -q "^Plugin ABI: $abi\." "$top/NEWS" || fail "NEWS does not say that the plugin ABI is $abi"
[ "$("$build/sluiced" --version)" = "sluiced $version" ] || fail 'sluiced has another version'
# What the build needs is listed for ./dev and for Debian.
for package in $(sed -n '/^build_packages=/,/"$/p' "$top/dev" | tr -d '"' | sed 's/^build_packages=//' | tr ' ' '\n' | grep -E -- '-dev$|evlib'); do
	sed -n '/^Build-Depends/,/^[A-Z].*Version/p' "$top/debian/control" | grep -qw -- "$package" || fail "debian/control does not need $package"
done
say "version $version, plugin ABI $abi"

# ---- the archive ----

archive=sluice-$version.tar.xz
make -C "$build" -s dist >/dev/null 2>&1
mv "$build/$archive" "$dir/first"
make -C "$build" -s dist >/dev/null 2>&1
mv "$build/$archive" "$dir/$archive"
cmp "$dir/first" "$dir/$archive" || fail 'make dist makes another archive each time'
say "archive $(sha256sum "$dir/$archive" | cut -c1-16), twice the same"

# ---- the packages ----

tar -C "$dir" -xf "$dir/$archive"
(cd "$dir/sluice-$version" && DEB_BUILD_OPTIONS="nocheck parallel=$jobs" dpkg-buildpackage -b -us -uc -d) >"$dir/log" 2>&1 ||
	{ tail -n 40 "$dir/log" >&2; fail 'dpkg-buildpackage'; }
arch=$(dpkg --print-architecture)
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
for package in sluice sluice-dev; do
	dpkg-deb -c "$dir/${package}_${version}_$arch.deb" | awk '$1 ~ /^[-l]/ { print $6 }' | sed "s,/$triplet/,/TRIPLET/," | LC_ALL=C sort >"$dir/$package.list"
	diff "$top/tests/packaging/$package.list" "$dir/$package.list" || fail "the content of $package differs from tests/packaging/$package.list: put what is new there, and into debian/$package.install"
done
dpkg-deb -e "$dir/sluice_${version}_$arch.deb" "$dir/control"
[ "$(cat "$dir/control/conffiles")" = /etc/sluice/sluice.yaml ] || fail 'the configuration is no conffile'
for script in "$dir"/control/p*; do
	sh -n "$script" || fail "$script"
done
grep -q 'systemd-sysusers' "$dir/control/postinst" && grep -q 'sluiced.service' "$dir/control/postinst" || fail 'the postinst makes no user or no service'
lintian --fail-on error "$dir/sluice_${version}_$arch.changes" || fail lintian
say 'two packages, contents as listed, no error of lintian'

# ---- the installed programs ----

dpkg -x "$dir/sluice_${version}_$arch.deb" "$dir/installed"
mkdir "$dir/whole" "$dir/layers"
cat >"$dir/try" <<'SCRIPT'
set -eu
# On a file system of its own, because layers must not lie in each other.
mount -t tmpfs none "$1/layers"
mkdir "$1/layers/upper" "$1/layers/work"
cp -a "$1/installed" "$1/layers/installed"
# dpkg would follow the link.
[ ! -L /lib ] || { cp -a "$1/layers/installed/lib/." "$1/layers/installed/usr/lib" && rm -r "$1/layers/installed/lib"; }
mount -t overlay none -o "lowerdir=$1/layers/installed:/,upperdir=$1/layers/upper,workdir=$1/layers/work" "$1/whole"
mount --bind /dev "$1/whole/dev"
mount -t proc none "$1/whole/proc" 2>/dev/null || mount --rbind /proc "$1/whole/proc"
exec chroot "$1/whole" sh -c '
	set -eu
	sluiced -t
	sed -e "s,127\.0\.0\.1:44[0-9]*,127.0.0.1:0," -e "s,^data_dir:.*,data_dir: temporary," /etc/sluice/sluice.yaml >/tmp/sluice.yaml
	sluiced -c /tmp/sluice.yaml 2>/tmp/sluice.log &
	pid=$!
	for i in $(seq 600); do
		grep -q " ready pid=" /tmp/sluice.log && break
		kill -0 $pid
		sleep 0.1
	done
	# The first of its listeners, which is the one of the streams.
	url=$(sed -n "s/.* ready pid=//p" /tmp/sluice.log | grep -o "listen=http[^ ]*" | head -n 1 | cut -d= -f2)
	curl -sSf -X PUT -H "content-type: text/plain" -d hello "$url/v1/stream/a" >/dev/null
	test "$(curl -sSf "$url/v1/stream/a")" = hello
	kill $pid
	wait $pid
'
SCRIPT
userns=--map-root-user
[ "$(id -u)" != 0 ] || userns=
# shellcheck disable=SC2086
if ! unshare $userns --mount true 2>/dev/null; then
	say 'not run: this place allows no mount namespaces'
	exit 0
fi
# shellcheck disable=SC2086
unshare $userns --mount --pid --fork sh "$dir/try" "$dir" || fail 'the installed programs do not run'
say 'the installed programs check their configuration, start, store, answer and stop'
