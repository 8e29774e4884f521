#!/bin/sh
# Every manual page is clean mdoc. Skipped where mandoc is not installed.
set -u
cd "${top_srcdir:?}" || exit 1
if ! command -v mandoc >/dev/null 2>&1; then
	echo "1..0 # SKIP mandoc is not installed"
	exit 0
fi
n=0
for page in docs/*.[1-9] plugins/*/*.[1-9] sluicectl/*.[1-9] "${top_builddir:?}"/docs/*.[1-9]; do
	[ -f "$page" ] || continue
	n=$((n + 1))
	if findings=$(mandoc -Tlint -Wwarning "$page" 2>&1) && [ -z "$findings" ]; then
		echo "ok $n - $page"
	else
		echo "not ok $n - $page"
		printf '%s\n' "$findings" | sed 's/^/# /'
	fi
done
echo "1..$n"
