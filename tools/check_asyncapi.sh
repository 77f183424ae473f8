#!/bin/sh
# Has the AsyncAPI document read by @asyncapi/parser, which comes by npm into build/ and runs no script of its own there.
# Where there is no npm, or no way to its registry, the check is left out, and said so.
set -eu
version=3.6.3
folder=build/asyncapi-$version

left_out() {
  echo "make check: $1, so ingest/events/schema/asyncapi.json is not read by @asyncapi/parser" >&2
  exit 0
}

for tool in node npm; do
  command -v "$tool" >/dev/null || left_out "no $tool"
done
if [ ! -e "$folder/complete" ]; then
  npm install --prefix "$folder" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
    "@asyncapi/parser@$version" >/dev/null || left_out "npm can't fetch @asyncapi/parser"
  touch "$folder/complete"
fi
exec node tools/check_asyncapi.mjs "$folder" "${1:-ingest/events/schema/asyncapi.json}"
