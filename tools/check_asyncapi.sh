#!/bin/sh
# Has the AsyncAPI document read by @asyncapi/parser, which comes by npm into build/ and runs no script of its own there.
# Where there is no npm the check is left out, and said so; never in CI.
set -eu
version=3.6.3
folder=build/asyncapi-$version

for tool in node npm; do
  command -v "$tool" >/dev/null && continue
  echo "make check: no $tool, so ingest/events/schema/asyncapi.json is not read by @asyncapi/parser" >&2
  [ -z "${CI:-}" ] || exit 1
  exit 0
done
if [ ! -e "$folder/complete" ]; then
  npm install --prefix "$folder" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
    "@asyncapi/parser@$version" >/dev/null
  touch "$folder/complete"
fi
exec node tools/check_asyncapi.mjs "$folder" "${1:-ingest/events/schema/asyncapi.json}"
