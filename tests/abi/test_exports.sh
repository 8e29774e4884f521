#!/bin/sh
# Every built plugin exports exactly one symbol and needs none of the host's; its sources see nothing of sluice but the public header.
n=0
failed=0
result() { # good name
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; failed=1; fi
}

found=0
for so in "$top_builddir"/.libs/*.so; do
	[ -f "$so" ] || continue
	found=$((found + 1))
	name=${so##*/}
	exported=$(nm -D --defined-only "$so" | awk '{print $NF}' | grep -v '^__asan\|^__odr_asan\|^__ubsan' | sort | tr '\n' ' ')
	[ "$exported" = "sluice_plugin_v1 " ]
	result $? "$name exports sluice_plugin_v1 and nothing else (got: $exported)"
	wanted=$(nm -D --undefined-only "$so" | awk '{print $NF}' | grep -E '^(sl_|sluice_|http_|ws_|event_|evtimer_|nghttp2_|lws_)' | tr '\n' ' ')
	[ -z "$wanted" ]
	result $? "$name takes nothing but the C library from its process (got: $wanted)"
done
[ $found -gt 0 ]
result $? "there are plugins"
for dir in "$top_srcdir"/plugins/*/; do
	name=${dir%/}
	name=${name##*/}
	# Two doors to the same streams share a library of their own.
	[ "$name" = riverrun ] && family=plugins/streams/streams.h || family=
	foreign=$(cd "$dir" && grep -hn '^#include "' ./*.[ch] | sed 's/.*"\(.*\)".*/\1/' | sort -u | while read -r header; do
		[ "$header" = sluice/plugin.h ] || [ "$header" = "$family" ] || [ -f "$header" ] ||
			[ "${header#plugins/"$name"/}" != "$header" ] || printf '%s ' "$header"
	done)
	[ -z "$foreign" ]
	result $? "$name includes sluice/plugin.h and headers of its own (others: $foreign)"
done
echo "1..$n"
exit $failed
