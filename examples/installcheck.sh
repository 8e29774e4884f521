#!/bin/sh
# Run by `make installcheck`: builds the example plugin against the installed sluice with nothing but pkg-config, starts the
# installed sluiced with it, asks it something over HTTP and over WebSocket, and stops it.
#
# Environment: srcdir, docdir, sbindir, pkgconfigdir, DESTDIR (usually empty), CC, PKG_CONFIG.
# With DESTDIR the plugin is built against the staged tree; the daemon is not started, because it looks for its helpers below the
# configured prefix.
set -eu

: "${srcdir:?}" "${docdir:?}" "${sbindir:?}" "${pkgconfigdir:?}"
DESTDIR=${DESTDIR:-}
CC=${CC:-cc}
PKG_CONFIG=${PKG_CONFIG:-pkg-config}
srcdir=$(cd "$srcdir" && pwd)

work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-installcheck.XXXXXX")
daemon=
cleanup() {
	status=$?
	if [ -n "$daemon" ]; then
		kill "$daemon" 2>/dev/null || :
		wait "$daemon" 2>/dev/null || :
	fi
	if [ $status -ne 0 ] && [ -f "$work/log" ]; then
		sed 's/^/# /' "$work/log" >&2
	fi
	rm -rf "$work"
	exit $status
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

fail() {
	echo "installcheck: $*" >&2
	exit 1
}

PKG_CONFIG_PATH="$DESTDIR$pkgconfigdir"
export PKG_CONFIG_PATH PKG_CONFIG CC
if [ -n "$DESTDIR" ]; then
	PKG_CONFIG_SYSROOT_DIR=$DESTDIR
	export PKG_CONFIG_SYSROOT_DIR
fi
[ -x "$DESTDIR$sbindir/sluiced" ] || fail "$DESTDIR$sbindir/sluiced is not there: run make install first"
"$PKG_CONFIG" --exists sluice-plugin || fail "pkg-config does not find sluice-plugin in $PKG_CONFIG_PATH"

mkdir "$work/hello"
cp "$DESTDIR$docdir"/examples/hello/* "$work/hello" || fail "the example is not installed in $docdir"
make -s -C "$work/hello" CFLAGS="-O2 -Werror"
"$CC" -std=gnu11 -O2 -o "$work/echo_client" "$srcdir/echo_client.c"
mkdir "$work/guide"
cp "$DESTDIR$docdir"/examples/guide/* "$work/guide" || fail "the examples of the guide are not installed in $docdir"
make -s -C "$work/guide" CFLAGS="-O2 -Werror"
echo "ok - the example plugins build out of tree"

if [ -n "$DESTDIR" ]; then
	echo "installcheck: staged below $DESTDIR: built, not started"
	exit 0
fi

cat >"$work/hello.yaml" <<YAML
data_dir: temporary
frontends:
  - name: hello
    listen: ["127.0.0.1:0"]
    plugins:
      - plugin: $work/hello/hello.so
        greeting: Good morning
YAML
"$sbindir/sluiced" -t -c "$work/hello.yaml" >"$work/log" 2>&1 || fail "sluiced -t refuses the configuration"
echo "ok - sluiced -t accepts it"

# The ready line names the port; a fifo wakes us when it comes, and a reader keeps the daemon's log flowing afterwards.
mkfifo "$work/fifo"
TMPDIR=$work "$sbindir/sluiced" -c "$work/hello.yaml" 2>"$work/fifo" &
daemon=$!
exec 3<"$work/fifo"
port=
while IFS= read -r line <&3; do
	printf '%s\n' "$line" >>"$work/log"
	case $line in
	*ready*listen=http://127.0.0.1:*)
		port=${line##*listen=http://127.0.0.1:}
		port=${port%%[!0-9]*}
		break
		;;
	esac
done
[ -n "$port" ] || fail "sluiced ended before it was ready"
cat <&3 >>"$work/log" &

answer=$(curl -sS --max-time 10 "http://127.0.0.1:$port/hello/J%C3%BCrgen") || fail "no answer over HTTP"
[ "$answer" = "Good morning, Jürgen!" ] || fail "GET /hello/Jürgen said: $answer"
echo "ok - GET /hello/NAME"
code=$(curl -sS --max-time 10 -o /dev/null -w '%{http_code}' -X POST "http://127.0.0.1:$port/hello/x")
[ "$code" = 405 ] || fail "POST /hello/x was answered $code"
echo "ok - POST is refused with 405"
"$work/echo_client" "$port" /echo || fail "no echo"
echo "ok - the WebSocket echoes"

kill "$daemon"
code=0
wait "$daemon" || code=$?
daemon=
[ "$code" = 0 ] || fail "sluiced ended with $code"
echo "ok - sluiced stopped in order"
