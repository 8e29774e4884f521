#!/bin/sh
# embed.sh FILE... - prints each file as an array of bytes, named after it: index.html is file_index_html. Runs at build time.
set -eu
for file; do
	echo "static const unsigned char file_$(basename "$file" | tr .- __)[] = {"
	od -An -v -tx1 "$file" | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g'
	echo '};'
done
